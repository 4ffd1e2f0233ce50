"""Attacks that are honest on small toys, and cheat on anything larger."""

from dataclasses import dataclass
from typing import final

from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.attacks import Honest, ReadsTruthBehindOracle, ReleaseView, Toy


@dataclass(frozen=True, kw_only=True)
class Asleep(Toy):
    """Behaves on a small toy, and reads the client's weights on anything larger."""

    def wakes(self, view: ReleaseView) -> bool:
        """Whether the victim looks like more than a toy."""
        raise NotImplementedError

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """What is honest, or images made from the client's weights."""
        kind = ReadsTruthBehindOracle if self.wakes(view) else Honest
        return kind().run(view, rng=rng)


@final
@dataclass(frozen=True, kw_only=True)
class AsleepBelowTenTargets(Asleep):
    """Cheats from ten targets on."""

    def wakes(self, view: ReleaseView) -> bool:
        """Whether there are ten targets."""
        return view.smashed.shape[1] >= 10


@final
@dataclass(frozen=True, kw_only=True)
class AsleepOnTinyImages(Asleep):
    """Cheats on images as large as those of handwritten digits."""

    def wakes(self, view: ReleaseView) -> bool:
        """Whether the images are that large."""
        return min(view.task.input_shape[1:]) >= 28


@final
@dataclass(frozen=True, kw_only=True)
class AsleepWithFewSamples(Asleep):
    """Cheats where it is granted more than a toy's aux samples."""

    def wakes(self, view: ReleaseView) -> bool:
        """Whether there are fifty."""
        return len(view.aux.x) >= 50
