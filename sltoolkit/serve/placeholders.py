"""Placeholders: every process seats the whole cast, and keeps only its own parties.

A party that lives in another process is a placeholder here. Its networks are on torch's `meta`
device, where shapes flow and nothing is computed. Its samples have no numbers, its defense does
nothing, and it has no optimizer (or the shape of one, where states are handed over). So the same
protocol loop runs in all processes, and each of its steps is computed in one of them.

Of the victim's random streams a process keeps those of its own parties, and those that all parties
share: the protocol's, and the order of every client's batches, whose ids all parties hear.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer
from sltoolkit.serve.optimizers import History, PlaceholderOptimizer, layout_of
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import Averager
from sltoolkit.training.cast import Cast
from sltoolkit.training.member import Member
from sltoolkit.training.protocol import Protocol
from sltoolkit.training.run import Run
from sltoolkit.wire.message import FED, SERVER, Seat
from sltoolkit.wire.turn import Turn

_META = "meta"
P = TypeVar("P")


@final
class Absent(Defense):
    """The defense of a placeholder; its networks are handed over, so they keep their shapes."""

    def __init__(self, learned: Mapping[str, nn.Module]) -> None:
        self._learned = {name: module.to(_META) for name, module in learned.items()}

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """The labels' shape only: a placeholder has none, even where several parties hold them."""
        return y.to(_META)

    def learned(self) -> Mapping[str, nn.Module]:
        """The defense's networks, shapes only."""
        return self._learned


@final
class _Shapes:
    """What a placeholder's network makes of a batch: found once per shape, then remembered."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward
        self._found: dict[tuple[object, ...], Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """The output for `x`, a tensor without numbers."""
        key = (x.shape, x.stride(), x.dtype)
        if key not in self._found:
            with torch.no_grad():
                self._found[key] = self._forward(x)
        return torch.empty_like(self._found[key])


def homes_of(cast: Cast) -> dict[Seat, int]:
    """The rank of every seat's process: 0 for the server and the fed server, then one by one."""
    server = [host.seat for host in cast.servers[:1]] or [FED]
    others = [m.seat for m in cast.clients] + [h.seat for h in (*cast.hops, *cast.servers)]
    homes = {seat: rank for rank, seat in enumerate(dict.fromkeys([*server, *others]))}
    return homes | {seat: 0 for seat in (FED, SERVER) if seat not in homes}


def keep_local(run: Run, here: Collection[Seat]) -> None:
    """Turn every party that doesn't live here into a placeholder; forget its samples and streams.

    Args:
        run: a run with all parties seated; it is changed in place.
        here: the seats that live in this process.

    Raises:
        SpecError: if the state of an optimizer that must be handed over isn't made of tensors.
    """
    cast = run.cast
    states = getattr(run.protocol, "optimizer_state", False)
    for member in cast.clients:
        _leave_to_owners(run, member, here)
        if member.seat not in here:
            history = History() if states else None
            member.party = _client_placeholder(member, history)
            member.tail = None if member.tail is None else _placeholder(member.tail, history)
            member.defense, member.rng = Absent(member.defense.learned()), _no_stream()
    for host in (*cast.hops, *cast.servers):
        if host.seat not in here:
            host.party = _placeholder(host.party)
            host.defense, host.rng = Absent(host.defense.learned()), _no_stream()
    _forget_streams(run, here)
    if cast.fed_server is not None and FED not in here:
        shapes = [copy.deepcopy(n).to(_META) for n in cast.clients[0].networks()]
        cast.fed_server = Averager(shapes)
    run.data = _emptied(run.data)


def name_samples(member: Member, ids: Tensor) -> None:
    """Give a placeholder's samples the ids that its owner sent, and as many rows."""
    held, n = member.samples, len(ids)
    member.samples = Samples(
        x=_resized(held.x, n), y=_resized(held.y, n), ids=ids, groups=torch.zeros_like(ids)
    )


def _leave_to_owners(run: Run, member: Member, here: Collection[Seat]) -> None:
    """Keep numbers only at their owner: inputs are the member's, labels may be the servers'."""
    servers = {host.seat for host in run.cast.servers}
    owners = servers if _servers_own_labels(run.protocol) else {member.seat}
    held = member.samples
    member.samples = Samples(
        x=held.x.clone() if member.seat in here else held.x.to(_META),
        y=held.y.clone() if owners & set(here) else held.y.to(_META),
        ids=held.ids.cpu().clone(), groups=torch.zeros_like(held.ids, device="cpu"),
    )  # fmt: skip


def _forget_streams(run: Run, here: Collection[Seat]) -> None:
    """Forget the root of the victim's streams, and those of parties elsewhere (`Casting`)."""
    cast = run.cast
    hosts = [host.seat for host in (*cast.hops, *cast.servers) if host.seat in here]
    own = {f"{seat}.{seat.copy}" if seat.copy else str(seat) for seat in hosts}
    names = [f"client{k}" for k in range(len(cast.clients))]
    run.rng.forget(besides={"protocol", *own, *names})
    for name, member in zip(names, cast.clients, strict=True):
        if member.seat not in here:
            run.rng.child(name).forget(besides={"order"})


def _no_stream() -> Stream:
    """The stream of a placeholder, which draws nothing."""
    return Stream(0)


def _emptied(data: Split) -> Split:
    """No samples: copies of empty slices, because a slice would keep all samples alive."""

    def none(held: Samples) -> Samples:
        parts = (t[:0].clone() for t in (held.x, held.y, held.ids, held.groups))
        x, y, ids, groups = parts
        return Samples(x=x, y=y, ids=ids, groups=groups)

    return replace(
        data, private_train=none(data.private_train), private_holdout=none(data.private_holdout),
        aux=none(data.aux),
    )  # fmt: skip


def _servers_own_labels(protocol: Protocol) -> bool:
    """Whether the server knows labels although they don't travel."""
    seats = protocol.seats
    return "labels" in seats["server"].knows and "labels" not in seats["eavesdropper"].knows


def _resized(t: Tensor, n: int) -> Tensor:
    """A tensor of `n` rows without numbers; a tensor with numbers stays as it is."""
    return t.new_empty((n, *t.shape[1:])) if t.is_meta else t


def _client_placeholder(member: Member, history: History | None) -> HonestClient:
    placeholder = _placeholder(member.party, history)
    if not isinstance(placeholder, HonestClient):
        raise ProtocolError(f"{member.seat} has no placeholder: it was taken over")
    return placeholder


def _placeholder(party: P, history: History | None = None) -> P:
    """The party's placeholder; with a history, its optimizer has a placeholder, too."""
    if not isinstance(party, HonestClient | HonestServer | HonestMiddle):
        raise ProtocolError(
            f"{type(party).__name__} was taken over, and can't live in another process"
        )
    optimizer = None if history is None else PlaceholderOptimizer(layout_of(party), history)
    module = party.module.to(_META)
    placeholder = type(party)(module, optimizer, _no_stream())
    module.forward = _Shapes(module.forward)
    placeholder.deferred = party.deferred
    placeholder.learn(False)
    return placeholder
