"""SplitFed V2 (Thapa et al. 2020): one server network, which meets the clients one by one.

The clients of a round come in a random order, drawn anew for every round because the server's
network is influenced most by the last ones. Only the clients' networks are averaged, by the fed
server, weighted by n_k. What the server learned from a client that left during a round stays
learned.

Departures: as in `splitfed_v1`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.protocols._conversation import converse
from sltoolkit.protocols._holdings import FED_LINKS, split_seats
from sltoolkit.protocols._rounds import Rounds, fed_server
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class SplitFedV2(Rounds):
    """Clients in random order at one server; client networks are averaged."""

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
        """Clients, one server, and the fed server."""
        head, rest = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head,)) for k in range(self.clients)],
            servers=[casting.server(SERVER, rest)],
            averaged=True,
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One round: all batches of the clients that take part."""
        wire, fed = cast.wire, fed_server(cast)
        there = self.attending(cast, clock, phase)
        for i in torch.randperm(len(there), generator=cast.rng.torch()).tolist():
            me = there[i].member
            fed.hand_out(me, wire, clock.idle(me))
            for x, y, turn in there[i].batches:
                converse(me, cast.server, x, y, turn, wire)
            if there[i].stays:
                fed.collect(me, wire, clock.idle(me))
        fed.close()
