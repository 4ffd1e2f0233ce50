"""SplitFed V3 (Gawali et al. 2020): client networks stay private, server copies are averaged.

As in V1, the main server keeps a copy of its network for each client of a round and averages the
copies, weighted by n_k. The clients' networks are neither averaged nor sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.protocols._holdings import split_seats
from sltoolkit.protocols._rounds import Rounds
from sltoolkit.protocols._vmapped import converse_jointly
from sltoolkit.training.averaging import Copies
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class SplitFedV3(Rounds):
    """Parallel clients with their own networks; server copies are averaged."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Gawali et al. 2021, Comparison of privacy-preserving distributed deep learning methods "
        "in healthcare (MIUA; arXiv:2012.12591)"
    )

    @property
    def alike(self) -> bool:
        """Whether clients end up alike: no, every client keeps its own network."""
        return False

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds."""
        return split_seats(labels_at="client", alike=self.clients == 1)

    def cast(self, casting: Casting) -> Cast:
        """Clients, and a server copy for each client of a round."""
        head, rest = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head,)) for k in range(self.clients)],
            servers=[casting.server(SERVER, rest, copy=i) for i in range(self.slots)],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One round: all batches of the clients that take part."""
        copies = Copies(cast.servers)
        there = self.attending(cast, clock, phase)
        converse_jointly(there, cast.servers, cast.wire)
        for a in there:
            if a.stays:
                copies.count(a.slot, len(a.member.samples))
        copies.close()
