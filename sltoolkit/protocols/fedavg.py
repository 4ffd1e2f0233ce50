"""Federated averaging (McMahan et al. 2017, Alg. 1), the usual reference for comparisons.

Nothing is split: a client holds the whole network and trains it for E epochs on its own samples;
the fed server averages the clients' weights, weighted by n_k. Weights cross the wire, but no
smashed data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._conversation import learn_locally
from sltoolkit.protocols._holdings import refuse_inert, whole_seats
from sltoolkit.protocols._rounds import Rounds, fed_server
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class FedAvg(Rounds):
    """Clients train the whole network; weights are averaged."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "McMahan et al. 2017, Communication-efficient learning of deep networks from "
        "decentralized data (AISTATS; arXiv:1602.05629)"
    )

    local_epochs: Annotated[
        int, Parameter("E, passes of a client over its samples per round", least=1)
    ] = 1

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: weights, but no smashed data."""
        return whole_seats()

    def cast(self, casting: Casting) -> Cast:
        """Clients with both parts, and the fed server."""
        refuse_inert(casting.defense, "fedavg")
        return casting.cast(
            clients=[casting.client(k, casting.parts) for k in range(self.clients)],
            servers=[],
            averaged=True,
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One round: all batches of the clients that take part."""
        wire, fed = cast.wire, fed_server(cast)
        for a in self.attending(cast, clock, phase):
            me = a.member
            fed.hand_out(me, wire, clock.idle(me))
            for x, y, turn in a.batches:
                learn_locally(me, me.party.forward(x), y, turn)
            for _ in range(self.local_epochs - 1 if a.stays else 0):
                for x, y, turn in clock.batches(me, phase):
                    learn_locally(me, me.party.forward(x), y, turn)
            if a.stays:
                fed.collect(me, wire, clock.idle(me))
        fed.close()
