"""A puppet in the server's seat, which repeats what another server sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from sltoolkit.contracts.attack import ActiveAttack, BatchView, Family, ListenerState, Role
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.streams import Stream
from sltoolkit.wire.message import Message


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Nothing:
    """A puppet's view, which is empty."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Puppet(ActiveAttack[Nothing]):
    """Sends what another server sent.

    Attributes:
        sent: the other server's messages, in order.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Nothing
    view: ClassVar[type] = Nothing
    citation: ClassVar[str] = "none"

    sent: tuple[Message, ...]

    def seize(
        self, honest: Stage, setup: Nothing, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Take over the server's seat."""
        script = iter(self.sent)
        kind = PuppetMiddle if isinstance(honest, Middle) else PuppetServer
        return kind(script), _Deaf()


class _Puppet:
    def __init__(self, script: Iterator[Message]) -> None:
        self._script = script

    def learn(self, learning: bool) -> None:
        """Nothing to do, since a puppet can't learn."""

    def repeat(self) -> Tensor:
        """The next payload."""
        return next(self._script).payload.clone()


@final
class PuppetServer(_Puppet, Server):
    """A puppet behind the cut."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that the other server sent."""
        return self.repeat()


@final
class PuppetMiddle(_Puppet, Middle):
    """A puppet between head and tail."""

    def forward(self, received: Tensor) -> Tensor:
        """The features that the other server sent."""
        return self.repeat()

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that the other server sent."""
        return self.repeat()


@final
class _Deaf(ListenerState):
    def hear(self, heard: BatchView) -> None:
        """Ignore the batch."""

    def finish(self, view: Any) -> Outcome:
        """An empty outcome."""
        return Outcome()
