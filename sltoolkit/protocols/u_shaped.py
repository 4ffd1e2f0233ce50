"""U-shaped split learning (Gupta & Raskar 2018; Vepakomma et al. 2018): labels stay private.

The client keeps both ends of the network. Its head sends smashed data, the server's middle sends
features back, and the client's tail computes the loss. The gradients take the same way back. The
server never receives a label, but it hears the smashed data and the gradient at the features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings, LinkSource
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.stages import Middle
from sltoolkit.protocols._holdings import (
    CLIENT_NETWORKS,
    LABELS,
    SERVER_NETWORK,
    colluder,
    weights_heard,
)
from sltoolkit.protocols._relay import Relay
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class UShaped(Relay):
    """Head and tail at the client, the middle at the server."""

    parts: ClassVar[int] = 3
    citation: ClassVar[str] = (
        "Vepakomma et al. 2018, Split learning for health: Distributed deep learning without "
        "sharing raw patient data (arXiv:1812.00564)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds; `smashed_grad` is the gradient that the tail sends up."""
        up = {
            "smashed": LinkSource("smashed", "client", "server"),
            "smashed_grad": LinkSource("smashed_grad", "client", "server"),
        }
        server, eavesdropper = weights_heard(self.weights_heard_by)
        return {
            "server": Holdings(links=up, knows=SERVER_NETWORK | server),
            "client": Holdings(links={}, knows=CLIENT_NETWORKS | LABELS),
            "eavesdropper": Holdings(links=up, knows=eavesdropper),
            "colluding": Holdings(
                links=up, knows=LABELS | SERVER_NETWORK | colluder(self.share_weights)
            ),
        }

    def cast(self, casting: Casting) -> Cast:
        """Clients with the first and the last part, a server with the middle one."""
        head, middle, tail = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head, tail)) for k in range(self.clients)],
            servers=[casting.middle(SERVER, middle)],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every client in turn, over all its batches."""
        wire, server = cast.wire, cast.server.party
        if not isinstance(server, Middle):
            raise ProtocolError("u_shaped needs a server between the client's head and tail")
        for me, x, y, turn in self.relay(cast, clock, phase):
            tail = me.tail
            if tail is None:
                raise ProtocolError("u_shaped needs a tail at every client")
            z = me.defense.smash(me.party.forward(x), turn)
            features = server.forward(
                wire.send(z, src=me.seat, dst=SERVER, kind="smashed", turn=turn)
            )
            g = tail.step(
                wire.send(features, src=SERVER, dst=me.seat, kind="smashed", turn=turn),
                me.defense.labels(y, turn),
            )
            g = me.defense.gradient(g, turn)
            g = server.backward(
                wire.send(g, src=me.seat, dst=SERVER, kind="smashed_grad", turn=turn)
            )
            back = me.defense.receive(
                wire.send(g, src=SERVER, dst=me.seat, kind="smashed_grad", turn=turn), turn
            )
            me.party.update(z, back, extra=me.defense.client_loss(z, turn))
            me.defense.step(turn)
            wire.close(turn)
