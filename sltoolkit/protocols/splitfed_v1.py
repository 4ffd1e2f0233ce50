"""SplitFed V1 (Thapa et al. 2020, Alg. 1 and 2): all clients in parallel.

The main server keeps one copy of its network for each client of a round, and every client runs
split learning with its copy. At the end of the round the main server averages its copies, and the
fed server averages the clients' networks, both weighted by n_k.

Departures: (1) optimizers persist over rounds, where the authors' code makes a new one for every
batch, so that Adam always takes its first step; (2) means are weighted by n_k as in the paper,
where the code divides by K; (3) integer buffers aren't averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.protocols._holdings import FED_LINKS, split_seats
from sltoolkit.protocols._rounds import Rounds, fed_server
from sltoolkit.protocols._vmapped import converse_jointly
from sltoolkit.training.averaging import Copies
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class SplitFedV1(Rounds):
    """Parallel clients; server copies and client networks are averaged."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Thapa et al. 2022, SplitFed: When federated learning meets split learning "
        "(AAAI; arXiv:2004.12088)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: weights, but no smashed data, travel to the fed server."""
        return split_seats(labels_at="client", weights_heard_by=FED_LINKS, updates=True)

    def cast(self, casting: Casting) -> Cast:
        """Clients, a server copy for each client of a round, and the fed server."""
        head, rest = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head,)) for k in range(self.clients)],
            servers=[casting.server(SERVER, rest, copy=i) for i in range(self.slots)],
            averaged=True,
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One round: all batches of the clients that take part."""
        wire, fed, copies = cast.wire, fed_server(cast), Copies(cast.servers)
        there = self.attending(cast, clock, phase)
        for a in there:
            fed.hand_out(a.member, wire, clock.idle(a.member))
        converse_jointly(there, cast.servers, wire)
        for a in there:
            if a.stays:
                fed.collect(a.member, wire, clock.idle(a.member))
                copies.count(a.slot, len(a.member.samples))
        fed.close()
        copies.close()
