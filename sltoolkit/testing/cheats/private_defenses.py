"""Planted defenses whose guarantee is wrong, and a sound Gaussian mechanism."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from sltoolkit.contracts.defense import PartySetup
from sltoolkit.privacy import Guarantee, compose, epsilon_of
from sltoolkit.testing.cheats.defenses import Planted, clipped
from sltoolkit.wire.turn import Turn


@dataclass(kw_only=True, eq=False)
class Private(Planted):
    """A sound Gaussian mechanism: clip and fresh noise; the other defenses each break it.

    Attributes:
        std: the standard deviation of the noise.
        clip: the largest norm of an example.
        mechanism: what the guarantee calls the mechanism.
    """

    std: float = 1.0
    clip: float = 1.0
    mechanism: str = "clipping and Gaussian noise"

    def clipped(self, z: Tensor) -> Tensor:
        """The examples of (B, ...) with norms of at most `clip`."""
        return clipped(z, self.clip)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Clip, and add the noise."""
        return super().smash(self.clipped(z), turn)

    def claimed(self, releases: int, delta: float) -> float:
        """The epsilon that it claims."""
        return epsilon_of(delta, compose(self.std / (2 * self.clip), releases))

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """The guarantee."""
        return Guarantee(
            mechanism=self.mechanism, released="smashed data", unit="one example",
            neighbors="replacement", epsilon=self.claimed(releases, delta), delta=delta,
            releases=releases, accountant="analytic Gaussian", limits="labels",
        )  # fmt: skip


@dataclass(kw_only=True, eq=False)
class TooLittleNoise(Private):
    """Claims epsilon 0.1 for noise of standard deviation 1e-4."""

    std: float = 1e-4

    def claimed(self, releases: int, delta: float) -> float:
        """The epsilon that it claims."""
        return 0.1 * releases


@dataclass(kw_only=True, eq=False)
class NoClip(Private):
    """Leaves out the clip that its noise is made for."""

    def clipped(self, z: Tensor) -> Tensor:
        """What comes in."""
        return z


@dataclass(kw_only=True, eq=False)
class ClipsNumbers(Private):
    """Clips each number instead of each example."""

    def clipped(self, z: Tensor) -> Tensor:
        """Numbers of at most `clip` in magnitude."""
        return z.clamp(-self.clip, self.clip)


@dataclass(kw_only=True, eq=False)
class ForgetsComposition(Private):
    """Claims for many releases little more than for one."""

    def claimed(self, releases: int, delta: float) -> float:
        """The epsilon that it claims."""
        return super().claimed(1, delta) * (1 + 0.01 * releases)


@dataclass(kw_only=True, eq=False)
class FixedNoise(Private):
    """Draws one noise tensor, and adds it to everything."""

    _drawn: Tensor = field(init=False, repr=False, default_factory=lambda: torch.zeros(1))

    def begin(self, setup: PartySetup) -> PartySetup:
        """Draw the noise."""
        self._drawn = torch.randn(setup.task.smashed_shape, generator=setup.rng.torch())
        return setup

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """The same noise every time."""
        return self._drawn.expand_as(z)


@dataclass(kw_only=True, eq=False)
class ReusesNoise(Private):
    """Draws noise in training, and adds the last of it to everything when it is deployed."""

    _last: Tensor | None = field(init=False, repr=False, default=None)

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Fresh noise in training, and the last noise afterwards."""
        if turn.phase == "train" or self._last is None:
            drawn = super().noise(z, turn)
            self._last = drawn[:1]
            return drawn
        return self._last.expand_as(z)


@dataclass(kw_only=True, eq=False)
class NoiseByPlace(FixedNoise):
    """Draws noise for each place in a batch once, and hides it under a little fresh noise."""

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """The place's noise, and a little fresh noise."""
        places = torch.arange(len(z)).view(-1, *[1] * (z.dim() - 1))
        fixed = torch.sin(1e4 * (places + 1) * self._drawn) * 2**0.5
        return fixed + 0.1 * super(FixedNoise, self).noise(z, turn)


@dataclass(kw_only=True, eq=False)
class SharedNoise(Private):
    """Draws noise once for a batch, so that its examples share it."""

    per_batch: ClassVar[bool] = True

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """The same noise for every example of the batch."""
        return super().noise(z[:1], turn).expand_as(z)


@dataclass(kw_only=True, eq=False)
class MostlySharedNoise(SharedNoise):
    """Hides shared noise under a little fresh noise."""

    per_batch: ClassVar[bool] = False

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Shared noise, and a little fresh noise."""
        fresh = torch.randn(z.shape, generator=turn.rng.torch())
        return super().noise(z, turn) + 0.1 * fresh
