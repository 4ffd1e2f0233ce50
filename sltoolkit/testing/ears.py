"""An ear for tests: it records what crosses the wire."""

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sltoolkit.wire.message import Kind, Message
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class RecordingEar:
    """Keeps every message.

    Attributes:
        kind: the only kind of message that it wants; None wants all.
        messages: the messages, in the order in which they were sent.
        closed: the steps of the batches that ended, in order.
    """

    kind: Kind | None = None
    messages: list[Message] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def wants(self, message: Message) -> bool:
        """Whether the message is of the wanted kind."""
        return self.kind is None or message.kind == self.kind

    def note(self, message: Message) -> None:
        """Keep the message."""
        self.messages.append(message)

    def close(self, turn: Turn) -> None:
        """Keep the batch's step."""
        self.closed.append(turn.step)

    def sent(self, kind: str, src: str) -> list[Message]:
        """The messages of a kind that a seat of this name sent."""
        return [m for m in self.messages if m.kind == kind and m.src.name == src]

    def batches(self) -> list[Tensor]:
        """The ids (B,) of each batch of smashed data that clients sent, in the order of the run."""
        return [m.turn.ids for m in self.sent("smashed", "client")]
