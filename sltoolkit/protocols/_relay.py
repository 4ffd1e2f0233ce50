"""Clients that take turns, and what each hands over to the next."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise, repeat, zip_longest
from typing import Annotated, Literal

import torch
from torch import Tensor

from sltoolkit.contracts.attack import Role
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.training.averaging import kinds_of
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.member import Member
from sltoolkit.training.protocol import Protocol
from sltoolkit.wire.message import SERVER, Kind, Seat
from sltoolkit.wire.turn import PhaseName, Turn
from sltoolkit.wire.wire import Wire


@dataclass(frozen=True, kw_only=True)
class Relay(Protocol):
    """Clients in a fixed order, one at a time; each may take over its predecessor's weights."""

    handover: Annotated[
        Literal["peer", "server", "none"],
        Parameter(
            "`peer` sends weights from client to client, `server` through the server (and counts "
            "twice), `none` lets every client keep its own network"
        ),
    ] = "peer"
    turns: Annotated[
        Literal["epoch", "batch"],
        Parameter(
            "a client keeps its turn for an `epoch` of its own samples, or for one `batch` "
            "(alternate mini-batch)"
        ),
    ] = "epoch"
    optimizer_state: Annotated[
        bool, Parameter("whether the optimizers' states are handed over, too; usually not")
    ] = False

    @property
    def alike(self) -> bool:
        """Whether weights are handed over, so that there is one client network."""
        return self.handover != "none"

    @property
    def share_weights(self) -> bool:
        """Whether all clients have the same network."""
        return self.alike or self.clients == 1

    @property
    def weights_heard_by(self) -> tuple[Role, ...]:
        """The roles that hear clients' weights travel."""
        if not self.alike or self.clients == 1:
            return ()
        return ("eavesdropper", "server") if self.handover == "server" else ("eavesdropper",)

    def relay(
        self, cast: Cast, clock: Clock, phase: PhaseName
    ) -> Iterator[tuple[Member, Tensor, Tensor, Turn]]:
        """The client in turn with a batch, after its predecessor has handed over."""
        streams = [zip(repeat(me), clock.batches(me, phase)) for me in cast.clients]
        turns = zip_longest(*streams) if self.turns == "batch" else streams
        for me, (x, y, turn) in filter(None, chain.from_iterable(turns)):
            giver = cast.last_to_learn
            if self.alike and giver is not None and giver is not me:
                self._hand_over(giver, me, cast.wire, clock.idle(me))
            cast.last_to_learn = me
            yield me, x, y, turn

    def _hand_over(self, giver: Member, taker: Member, wire: Wire, turn: Turn) -> None:
        way = [giver.seat, *([SERVER] if self.handover == "server" else []), taker.seat]
        hand_over(giver, taker, way, wire, turn)
        if self.optimizer_state:
            hand_over_optimizers(giver, taker, way, wire, turn)


def pass_on(t: Tensor, way: list[Seat], wire: Wire, *, kind: Kind, turn: Turn, name: str) -> Tensor:
    """Send `t` along a way of seats."""
    for src, dst in pairwise(way):
        t = wire.send(t, src=src, dst=dst, kind=kind, turn=turn, name=name)
    return t


def hand_over(giver: Member, taker: Member, way: list[Seat], wire: Wire, turn: Turn) -> None:
    """Send all weights and buffers of the giver's networks along a way to the taker."""
    with torch.no_grad():
        pairs = zip(giver.networks(), taker.networks(), strict=True)
        for i, (mine, theirs) in enumerate(pairs):
            own, kinds = theirs.state_dict(), kinds_of(mine)
            for name, value in mine.state_dict().items():
                kind, label = kinds[name], f"{i}.{name}"
                own[name].copy_(pass_on(value, way, wire, kind=kind, turn=turn, name=label))


def hand_over_optimizers(
    giver: Member, taker: Member, way: list[Seat], wire: Wire, turn: Turn
) -> None:
    """Send the states of the giver's optimizers (Adam's moments) along a way to the taker."""
    pairs = ((giver.party, taker.party), (giver.tail, taker.tail))
    for mine, theirs in pairs:
        if mine is None or theirs is None or mine.optimizer is None or theirs.optimizer is None:
            continue
        state = {  # sorted, since a loaded checkpoint has another order
            i: {
                k: pass_on(v, way, wire, kind="optimizer", turn=turn, name=f"{i}.{k}")
                if isinstance(v, Tensor) else v
                for k, v in sorted(slots.items())
            }
            for i, slots in sorted(mine.optimizer.state_dict()["state"].items())
        }  # fmt: skip
        groups = theirs.optimizer.state_dict()["param_groups"]
        theirs.optimizer.load_state_dict({"state": state, "param_groups": groups})
