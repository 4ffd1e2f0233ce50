"""Collaborative inference: a network that was trained elsewhere is used by two parties.

The client sends smashed data and gets logits back. No party learns, and no labels or gradients
travel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings, LinkSource
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.stages import Middle
from sltoolkit.protocols._holdings import CLIENT_NETWORKS, LABELS, SERVER_NETWORK, colluder
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.protocol import Protocol
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class CollaborativeInference(Protocol):
    """Frozen networks at a client and a server."""

    parts: ClassVar[int] = 2
    learns: ClassVar[bool] = False
    citation: ClassVar[str] = (
        "He, Zhang & Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds."""
        up = {"smashed": LinkSource("smashed", "client", "server")}
        return {
            "server": Holdings(links=up, knows=SERVER_NETWORK),
            "client": Holdings(links={}, knows=CLIENT_NETWORKS | LABELS),
            "eavesdropper": Holdings(links=up),
            "colluding": Holdings(links=up, knows=LABELS | SERVER_NETWORK | colluder(True)),
        }

    def cast(self, casting: Casting) -> Cast:
        """Clients with the first part, a server with the second."""
        head, rest = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head,)) for k in range(self.clients)],
            servers=[casting.middle(SERVER, rest)],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every client sends smashed data of all its samples."""
        wire, server = cast.wire, cast.server.party
        if not isinstance(server, Middle):
            raise ProtocolError("collaborative_inference needs a server that answers with logits")
        for me in cast.clients:
            for x, _, turn in clock.batches(me, phase):
                with torch.no_grad():
                    z = me.defense.smash(me.party.forward(x), turn)
                    logits = server.forward(
                        wire.send(z, src=me.seat, dst=SERVER, kind="smashed", turn=turn)
                    )
                wire.send(logits, src=SERVER, dst=me.seat, kind="logits", turn=turn)
                wire.close(turn)
