"""What a data holder says in a batch, and what it makes of the answer: every seam, in order."""

from dataclasses import dataclass
from typing import Self, final

from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.training.member import Member
from sltoolkit.wire.message import Seat
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What a party says in a batch.

    Attributes:
        me: the party.
        z: its smashed data (B, ..., q_k), with their graph.
        turn: the batch as it sees it.
    """

    me: Member
    z: Tensor
    turn: Turn

    @classmethod
    def by(cls, me: Member, turn: Turn) -> Self:
        """The party computes up to the cut."""
        if turn.x is None:
            raise ProtocolError(f"{me.seat} holds no inputs of this batch")
        return cls(me=me, z=me.defense.smash(me.party.forward(turn.x), turn), turn=turn)

    def send(self, dst: Seat, wire: Wire) -> Tensor:
        """Its smashed data, as they arrive."""
        return wire.send(self.z, src=self.me.seat, dst=dst, kind="smashed", turn=self.turn)

    def hear(self, g: Tensor, src: Seat, wire: Wire) -> Tensor:
        """The gradient at its smashed data, as it arrives."""
        return wire.send(g, src=src, dst=self.me.seat, kind="smashed_grad", turn=self.turn)

    def learn(self, arrived: Tensor) -> None:
        """The party follows the gradient at its smashed data."""
        me, turn = self.me, self.turn
        back = me.defense.receive(arrived, turn)
        me.party.update(self.z, back, extra=me.defense.client_loss(self.z, turn))
        me.defense.step(turn)
