"""A defense whose randomness is kept apart from all other randomness."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.wire.turn import Turn


@final
class Guarded(Defense):
    """A defense at one party: every seam runs inside the scope of the defense's own stream there.

    So a defense that draws from the global generators shifts no other random draws.
    """

    def __init__(self, inner: Defense, rng: Any) -> None:
        self.inner = inner
        self._rng = rng

    def begin(self, setup: PartySetup) -> PartySetup:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.begin(setup)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.smash(z, turn)

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.labels(y, turn)

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.gradient(g, turn)

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.receive(g, turn)

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.client_loss(z, turn)

    def step(self, turn: Turn) -> None:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            self.inner.step(turn)

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """What the inner defense guarantees."""
        return self.inner.guarantee(releases=releases, delta=delta)

    def up_to_guarantee(self, z: Tensor, turn: Turn) -> Tensor:
        """What the inner defense does, within the scope of its stream."""
        with self._rng.scope():
            return self.inner.up_to_guarantee(z, turn)

    def learned(self) -> Mapping[str, nn.Module]:
        """The inner defense's networks, which are handed over with the client's."""
        return self.inner.learned()
