"""Rounds: clients compute at the same time; some may be missing, or leave before the end."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat, zip_longest
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor

from sltoolkit.data.samples import Samples
from sltoolkit.errors import ProtocolError
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.training.averaging import Averager
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.member import Member
from sltoolkit.training.protocol import Deployment, Protocol
from sltoolkit.wire.turn import PhaseName, Turn

Batch = tuple[Tensor, Tensor, Turn]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Attendance:
    """A client in a round.

    Attributes:
        slot: its number among the clients of the round, from 0.
        member: the client.
        batches: the batches in which it takes part.
        stays: whether it is still there at the end.
    """

    slot: int
    member: Member
    batches: Iterator[Batch]
    stays: bool


@dataclass(frozen=True, kw_only=True)
class Rounds(Protocol):
    """One epoch is one round of some or all clients.

    A client that leaves during a round has no share in that round's averages; if it is sampled
    again, it starts from the common networks.
    """

    concurrent: ClassVar[bool] = True

    participation: Annotated[
        float,
        Parameter("share of the clients that every round samples (at least one)", above=0, most=1),
    ] = 1.0
    dropout: Annotated[
        float,
        Parameter(
            "chance that a sampled client leaves at a random moment of the round", least=0, below=1
        ),
    ] = 0.0

    def alone(self) -> Self:
        """The same with one client, which takes part in every round and never leaves."""
        return replace(self, clients=1, participation=1.0, dropout=0.0)

    @property
    def slots(self) -> int:
        """The number of clients that a round samples."""
        return max(1, math.floor(self.participation * self.clients + 0.5))

    def attending(self, cast: Cast, clock: Clock, phase: PhaseName) -> list[Attendance]:
        """The clients that take part in this round, in their fixed order."""
        draws = cast.rng.torch()
        chosen = sorted(torch.randperm(len(cast.clients), generator=draws)[: self.slots].tolist())
        leaves, moment = torch.rand(2, len(chosen), generator=draws, dtype=torch.float64).tolist()
        there = []
        for slot, k in enumerate(chosen):
            me, stays = cast.clients[k], leaves[slot] >= self.dropout
            batches = clock.batches(me, phase)
            if not stays:
                batches = _until(batches, moment[slot] * len(me.samples))
            there.append(Attendance(slot=slot, member=me, batches=batches, stays=stays))
        return there

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """Deploy the common networks where a fed server keeps them."""
        if cast.fed_server is not None:  # with these networks the next round would begin
            cast.fed_server.install(cast.clients[0])
            cast.last_to_learn = cast.clients[0]
        return super().deploy(cast, samples)


def fed_server(cast: Cast) -> Averager:
    """The fed server of a cast.

    Raises:
        ProtocolError: if it has none.
    """
    if cast.fed_server is None:
        raise ProtocolError("this protocol needs a fed server: cast it with averaged=True")
    return cast.fed_server


def lockstep(
    there: Sequence[tuple[Member, Iterator[Batch]]],
) -> Iterator[list[tuple[Member, Batch]]]:
    """Step by step, the clients that still have a batch, each with its batch."""
    for row in zip_longest(*(zip(repeat(me), batches) for me, batches in there)):
        yield [turn for turn in row if turn is not None]


def _until(batches: Iterator[Batch], rows: float) -> Iterator[Batch]:
    """The batches before `rows` samples have been seen."""
    seen = 0
    for batch in batches:
        seen += len(batch[2].ids)
        if seen > rows:
            return
        yield batch
