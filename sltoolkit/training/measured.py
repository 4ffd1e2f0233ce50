"""The measured costs of a run: bytes on the wire, and FLOPs of the networks.

Every byte is counted when it is sent, by kind of message. So labels, buffers and everything else
that the published formulas leave out are counted, and can be told apart. A party's FLOPs are those
of one sample's forward and backward pass through its networks, by torch's counter, times the number
of samples that the networks really took. The computation of defenses, losses, optimizers and
averages is not counted.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from typing import final

import pandas as pd
from torch import nn

from sltoolkit.costs.flops import PartCost, part_cost
from sltoolkit.costs.units import bytes_text, count_text, seconds_text
from sltoolkit.parties.honest import Honest, HonestClient
from sltoolkit.streams import Stream
from sltoolkit.training.run import Run
from sltoolkit.wire.message import Kind, Seat, Toll

Shape = tuple[int, ...]


@final
@dataclass(frozen=True, kw_only=True)
class PartyCost:
    """The costs of one party in one epoch.

    Attributes:
        seat: the party's seat.
        epoch: counted from 0.
        bytes_up: bytes that it sent.
        bytes_down: bytes that it received.
        flops: FLOPs of its networks; 0 for a party that was taken over.
    """

    seat: Seat
    epoch: int
    bytes_up: int
    bytes_down: int
    flops: int


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """The costs of a run.

    Attributes:
        tolls: bytes sent, by seats, kind and epoch.
        flops: FLOPs computed, by seat and epoch.
        seconds: wall time of all epochs together, with all parties in this one process.
    """

    tolls: Mapping[Toll, int]
    flops: Mapping[tuple[Seat, int], int]
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return 1 + max([t.epoch for t in self.tolls] + [e for _, e in self.flops], default=-1)

    def sent(self, *, epoch: int | None = None, kinds: Collection[Kind] | None = None) -> int:
        """Bytes that crossed the wire, each counted once.

        Args:
            epoch: the epoch to count, from 0; None counts all epochs.
            kinds: the kinds of messages to count; None counts all kinds.
        """
        return sum(
            n for toll, n in self.tolls.items()
            if epoch in (None, toll.epoch) and (kinds is None or toll.kind in kinds)
        )  # fmt: skip

    def parties(self) -> tuple[PartyCost, ...]:
        """The costs of every party in every epoch."""
        up: Counter[tuple[Seat, int]] = Counter()
        down: Counter[tuple[Seat, int]] = Counter()
        for toll, n in self.tolls.items():
            up[toll.src, toll.epoch] += n
            down[toll.dst, toll.epoch] += n
        seats = dict.fromkeys(seat for counted in (self.flops, up, down) for seat, _ in counted)
        return tuple(
            PartyCost(
                seat=seat, epoch=epoch, bytes_up=up[seat, epoch], bytes_down=down[seat, epoch],
                flops=self.flops.get((seat, epoch), 0),
            )
            for epoch in range(self.epochs) for seat in seats
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """One row per epoch and party: epoch, seat, bytes_up, bytes_down, flops."""
        columns = ["epoch", "seat", "bytes_up", "bytes_down", "flops"]
        rows = [{**vars(p), "seat": str(p.seat)} for p in self.parties()]
        return pd.DataFrame(rows, columns=columns)

    def latency(
        self,
        *,
        bytes_per_second: float,
        client_flops: float,
        server_flops: float,
        concurrent: bool,
    ) -> float:
        """Seconds that a mean epoch would take on given machines, by the model of `costs.latency`.

        All bytes pass one shared link; computation does not overlap with sending. Clients compute
        at the same time where they are concurrent, else one after the other.

        Args:
            bytes_per_second: rate of the link that all parties share.
            client_flops: FLOP per second of a client, or of any other party that is not a server.
            server_flops: FLOP per second of a server.
            concurrent: whether the protocol's clients compute at the same time.
        """
        clients: Counter[Seat] = Counter()
        server = 0
        for (seat, _), n in self.flops.items():
            if seat.name.startswith("server"):
                server += n
            else:
                clients[seat] += n
        computing = max(clients.values(), default=0) if concurrent else clients.total()
        total = self.sent() / bytes_per_second + computing / client_flops + server / server_flops
        return total / max(1, self.epochs)

    def __repr__(self) -> str:
        """The mean costs of an epoch, in one line."""
        n = max(1, self.epochs)
        return (
            f"Measured({self.epochs} epochs; per epoch {bytes_text(self.sent() / n)} on the wire, "
            f"{count_text(sum(self.flops.values()) / n)}FLOP, {seconds_text(self.seconds / n)})"
        )

    def _repr_html_(self) -> str:
        """The mean costs of an epoch by party, as a notebook shows them."""
        mean = self.table().drop(columns="epoch").groupby("seat", sort=False).mean()
        units = {"bytes_up": bytes_text, "bytes_down": bytes_text, "flops": count_text}
        shown = pd.DataFrame({_HEADINGS[c]: mean[c].map(units[c]) for c in units})
        table = shown.to_html(border=0, max_rows=20)
        return f"<b>{escape(repr(self))}</b>{table}"


_HEADINGS = {"bytes_up": "sent", "bytes_down": "received", "flops": "FLOPs"}


def measure(run: Run, *, seconds: float = 0.0) -> Measured:
    """The costs of a run that is over.

    Args:
        run: a run with all its parties in this process.
        seconds: how long it took.
    """
    flops: Counter[tuple[Seat, int]] = Counter()
    known: dict[tuple[str, Shape, bool], PartCost] = {}
    for seat, party, initial in run.cast.networks():
        # networks of many clients that print alike and take inputs of one shape are counted once
        key = (str(initial), tuple(party.inlet.shape), isinstance(party, HonestClient))
        if any(lap.forward for lap in party.laps) and key not in known:
            known[key] = _sample_cost(party, initial)
        each = known.get(key, PartCost())
        for epoch, lap in enumerate(party.laps):
            backward = each.training_flops - each.forward_flops
            flops[seat, epoch] += lap.forward * each.forward_flops + lap.backward * backward
    return Measured(tolls=run.cast.wire.tolls, flops=flops, seconds=seconds)


def _sample_cost(party: Honest, initial: nn.Module) -> PartCost:
    """The cost of one sample; clients need no gradient at their inputs."""
    inlet = party.inlet.new_zeros((1, *party.inlet.shape[1:]))
    with Stream(0).scope():
        part = deepcopy(initial).eval()
        cost, _ = part_cost(part, inlet.requires_grad_(not isinstance(party, HonestClient)))
    return cost
