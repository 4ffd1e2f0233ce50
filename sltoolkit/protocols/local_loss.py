"""Split learning on locally generated losses (Han et al. 2021): no gradient comes back.

Every client has an auxiliary head a and learns from its own loss l(a(f_c(x)), y), with f_c its
network. It sends smashed data and labels, from which the server learns, and gets no answer. The fed
server averages client networks and heads, weighted by n_k.

Departures: (1) the auxiliary head is a pooling to at most 4x4 and one linear layer, where the paper
tries several small networks; (2) one server network meets the clients one by one, where the paper
averages server copies; (3) the local loss is computed on the smashed data as sent, so that client
and server learn with the same defense in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.data.samples import Samples
from sltoolkit.protocols._conversation import learn_locally, loss_server
from sltoolkit.protocols._holdings import FED_LINKS, split_seats
from sltoolkit.protocols._rounds import Rounds, fed_server
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.protocol import Deployment
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class LocalLoss(Rounds):
    """Clients learn from their own auxiliary heads; the only messages they get are weights."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Han et al. 2021, Accelerating federated learning with split learning on locally "
        "generated losses (FL-ICML workshop)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: no gradients; weights travel to the fed server."""
        return split_seats(labels_at="client", gradients=False, weights_heard_by=FED_LINKS)

    def cast(self, casting: Casting) -> Cast:
        """Clients with the first part and an auxiliary head, one server, and the fed server."""
        head, rest = casting.parts
        smashed, classes = casting.smashed_shape(), len(casting.data.classes)
        with casting.rng.child("auxiliary").scope():
            auxiliary = auxiliary_head(smashed, classes).to(casting.data.private_train.x)
        return casting.cast(
            clients=[casting.client(k, (head, auxiliary)) for k in range(self.clients)],
            servers=[casting.server(SERVER, rest)],
            averaged=True,
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One round: all batches of the clients that take part."""
        wire, fed, server = cast.wire, fed_server(cast), loss_server(cast.server)
        for a in self.attending(cast, clock, phase):
            me = a.member
            fed.hand_out(me, wire, clock.idle(me))
            for x, y, turn in a.batches:
                labels = me.defense.labels(y, turn)
                z = me.defense.smash(me.party.forward(x), turn)
                heard = wire.send(z, src=me.seat, dst=SERVER, kind="smashed", turn=turn)
                told = wire.send(labels, src=me.seat, dst=SERVER, kind="labels", turn=turn)
                server.step(heard, told)  # the gradient stays at the server
                learn_locally(me, z, labels, turn)
                wire.close(turn)
            if a.stays:
                fed.collect(me, wire, clock.idle(me))
        fed.close()

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """Deploy the clients without their auxiliary heads."""
        (member,), server = super().deploy(cast, samples)
        return (replace(member, tail=None),), server


def auxiliary_head(smashed: tuple[int, ...], classes: int) -> nn.Module:
    """A small head from smashed data (B, C, H, W) or (B, d) to logits (B, classes)."""
    pool: list[nn.Module] = []
    if len(smashed) == 3:
        smashed = (smashed[0], min(4, smashed[1]), min(4, smashed[2]))
        pool = [nn.AdaptiveAvgPool2d(smashed[1:])]
    return nn.Sequential(*pool, nn.Flatten(), nn.Linear(int(torch.Size(smashed).numel()), classes))
