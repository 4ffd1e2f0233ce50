"""A hijacker that acts through more than its messages, and an honest hijacker."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import ActiveAttack, BatchView, Family, ListenerState, Role
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parties.stages import Server, Stage
from sltoolkit.streams import Stream
from sltoolkit.testing.careless import HeardView


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AuxSetup:
    """A setup with the attacker's own samples."""

    aux: Aux


@dataclass(frozen=True, kw_only=True)
class Shrinks(ActiveAttack[AuxSetup]):
    """No cheat: it teaches clients to send zeros, and answers with the mean of its own samples.

    It takes over a server behind a single cut.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = AuxSetup
    view: ClassVar[type] = HeardView
    citation: ClassVar[str] = "nobody 2026"

    def seize(
        self, honest: Stage, setup: AuxSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Server, ListenerState]:
        """Take over the server's seat."""
        return self.server(), _MeanImage(setup.aux)

    def server(self) -> "ShrinkingServer":
        """The party that takes over the seat."""
        return ShrinkingServer()


class ShrinkingServer(Server):
    """Sends back the gradient of the squared smashed data."""

    def learn(self, learning: bool) -> None:
        """Nothing to do, since it has nothing to learn."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Twice the smashed data, (B, ...)."""
        return 2 * smashed


@final
class _MeanImage(ListenerState):
    def __init__(self, aux: Aux) -> None:
        self.aux = aux

    def hear(self, heard: BatchView) -> None:
        """Ignore the batch."""

    def finish(self, view: HeardView) -> Reconstruction:
        """The mean of the attacker's own samples for every target."""
        images = self.aux.x.mean(0).expand(view.smashed.shape[1], *self.aux.x.shape[1:])
        return Reconstruction(images=images.clone())


@final
@dataclass(frozen=True, kw_only=True)
class DrawsFromGlobals(Shrinks):
    """Draws from the random generators that all parties share."""

    def server(self) -> ShrinkingServer:
        """A server that draws random numbers."""
        return _DrawingServer()


@final
class _DrawingServer(ShrinkingServer):
    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        torch.rand(1)
        return super().step(smashed, labels)
