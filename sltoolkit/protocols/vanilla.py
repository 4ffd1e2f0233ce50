"""Vanilla split learning (Gupta & Raskar 2018; Vepakomma et al. 2018).

Clients take turns in a fixed order. Each sends smashed data and labels; the server finishes the
forward pass, learns, and returns the gradient at the cut. With hand-over every client starts from
its predecessor's weights, which it gets from that client or through the server, once per epoch or
batch by batch. Optimizer states stay at their clients unless `optimizer_state` is true.

With `labels_at="server"` the server owns the labels, as in entity-aligned learning of two parties.
Then labels don't travel, but the client may infer them from the gradients that it gets back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._conversation import converse
from sltoolkit.protocols._holdings import split_seats
from sltoolkit.protocols._relay import Relay
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class Vanilla(Relay):
    """Sequential clients, one server."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Gupta & Raskar 2018, Distributed learning of deep neural network over multiple agents "
        "(JNCA 116)"
    )

    labels_at: Annotated[Literal["client", "server"], Parameter("which party owns the labels")] = (
        "client"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds."""
        return split_seats(
            labels_at=self.labels_at, weights_heard_by=self.weights_heard_by,
            alike=self.share_weights,
        )  # fmt: skip

    def cast(self, casting: Casting) -> Cast:
        """Clients with the first part, a server with the second."""
        return casting.cast(
            clients=[casting.client(k, casting.parts[:1]) for k in range(self.clients)],
            servers=[casting.server(SERVER, casting.parts[1])],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every client in turn, over all its batches."""
        for me, x, y, turn in self.relay(cast, clock, phase):
            converse(me, cast.server, x, y, turn, cast.wire, labels_at=self.labels_at)
