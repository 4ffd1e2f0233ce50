"""One party's exchange with another in a batch: smashed data up, their gradient down."""

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
class Exchange:
    """A party's part in a batch: `begin`, `send`, `reply` and `learn` are called in this order.

    Attributes:
        me: the party.
        z: its smashed data (B, ..., q_k), with their graph.
        turn: the batch as the party sees it.
    """

    me: Member
    z: Tensor
    turn: Turn

    @classmethod
    def begin(cls, me: Member, turn: Turn) -> Self:
        """The party computes up to the cut.

        Raises:
            ProtocolError: if it holds no inputs of this batch.
        """
        if turn.x is None:
            raise ProtocolError(f"{me.seat} holds no inputs of this batch")
        return cls(me=me, z=me.defense.smash(me.party.forward(turn.x), turn), turn=turn)

    def send(self, dst: Seat, wire: Wire) -> Tensor:
        """The party sends its smashed data; returns them as they arrive at `dst`."""
        return wire.send(self.z, src=self.me.seat, dst=dst, kind="smashed", turn=self.turn)

    def reply(self, g: Tensor, src: Seat, wire: Wire) -> Tensor:
        """`src` sends the gradient at the smashed data; returns it as it arrives at the party."""
        return wire.send(g, src=src, dst=self.me.seat, kind="smashed_grad", turn=self.turn)

    def learn(self, arrived: Tensor) -> None:
        """The party follows the gradient at its smashed data."""
        me, turn = self.me, self.turn
        back = me.defense.receive(arrived, turn)
        me.party.update(self.z, back, extra=me.defense.client_loss(self.z, turn))
        me.defense.step(turn)
