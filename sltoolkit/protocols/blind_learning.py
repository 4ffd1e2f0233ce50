"""Blind learning, or the average of losses (TripleBlind, patent US 11,431,688).

Clients work in lockstep. In each step the server computes the loss L_k on every client's smashed
data z_k, averages the losses, L = sum_k w_k L_k with w_k client k's share of the samples in this
step, and back-propagates the average once. Client k receives w_k dL_k/dz_k, its rows of the
gradient. After the round the fed server averages the clients' networks, weighted by n_k.

Departures: (1) the forward passes are one pass over all rows, which differs only for BatchNorm at
the server: its statistics are those of all clients' rows; (2) weights are averaged in the clear,
not under multi-party computation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.protocols._conversation import loss_server
from sltoolkit.protocols._holdings import FED_LINKS, split_seats
from sltoolkit.protocols._rounds import Rounds, fed_server, lockstep
from sltoolkit.training.cast import Cast, Clock, without_inputs
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class BlindLearning(Rounds):
    """Clients in lockstep; the server back-propagates the average of their losses."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "TripleBlind 2022, Systems and methods for blind learning: average of losses "
        "(patent US 11,431,688)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: weights, but no smashed data, travel to the fed server."""
        return split_seats(labels_at="client", weights_heard_by=FED_LINKS)

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
        wire, fed, host, server = cast.wire, fed_server(cast), cast.server, loss_server(cast.server)
        there = self.attending(cast, clock, phase)
        for a in there:
            fed.hand_out(a.member, wire, clock.idle(a.member))
        for step in lockstep([(a.member, a.batches) for a in there]):
            sent, smashed, labels = [], [], []
            for me, (x, y, turn) in step:
                own = me.defense.labels(y, turn)
                labels.append(wire.send(own, src=me.seat, dst=SERVER, kind="labels", turn=turn))
                z = me.defense.smash(me.party.forward(x), turn)
                sent.append(z)
                smashed.append(wire.send(z, src=me.seat, dst=SERVER, kind="smashed", turn=turn))

            rows = [len(z) for z in smashed]
            gradient = server.step(torch.cat(smashed), torch.cat(labels))

            for (me, (_, _, turn)), z, g in zip(step, sent, gradient.split(rows), strict=True):
                g = host.defense.gradient(g, without_inputs(turn, host.rng))
                arrived = wire.send(g, src=SERVER, dst=me.seat, kind="smashed_grad", turn=turn)
                back = me.defense.receive(arrived, turn)
                me.party.update(z, back, extra=me.defense.client_loss(z, turn))
                me.defense.step(turn)
                wire.close(turn)
        for a in there:
            if a.stays:
                fed.collect(a.member, wire, clock.idle(a.member))
        fed.close()
