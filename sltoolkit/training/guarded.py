"""The scope that keeps a defense's randomness apart."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.wire.turn import Turn


@final
class Guarded(Defense):
    """A defense at one party: every call runs inside the scope of its own stream there.

    Its learning seams (`client_loss`, `step`) and its answers alike draw from that stream, so a
    defense that draws from the global generators shifts nobody else's randomness.
    """

    def __init__(self, inner: Defense, rng: Any) -> None:
        self.inner = inner
        self._rng = rng

    def begin(self, setup: PartySetup) -> PartySetup:
        """Scoped."""
        with self._rng.scope():
            return self.inner.begin(setup)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Scoped."""
        with self._rng.scope():
            return self.inner.smash(z, turn)

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """Scoped."""
        with self._rng.scope():
            return self.inner.labels(y, turn)

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        """Scoped."""
        with self._rng.scope():
            return self.inner.gradient(g, turn)

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        """Scoped."""
        with self._rng.scope():
            return self.inner.receive(g, turn)

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Scoped."""
        with self._rng.scope():
            return self.inner.client_loss(z, turn)

    def step(self, turn: Turn) -> None:
        """Scoped."""
        with self._rng.scope():
            self.inner.step(turn)

    def learned(self) -> Mapping[str, nn.Module]:
        """The inner one's: a hand-over must find them."""
        return self.inner.learned()
