"""A formal guarantee, with everything that must be stated along with its numbers."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """An (epsilon, delta) differential-privacy guarantee.

    Attributes:
        mechanism: the mechanism and its parameters; one that calls itself Gaussian is audited as
            one.
        released: what is released (smashed data, gradients, weights, labels).
        unit: whose difference is hidden (one example, one pixel ball, one person).
        neighbors: the neighboring relation.
        epsilon, delta: the parameters after all `releases`.
        releases: how many releases of one record are composed.
        accountant: how they were composed, and the subsampling that was assumed.
        limits: what is not protected.
    """

    mechanism: str
    released: str
    unit: str
    neighbors: str
    epsilon: float
    delta: float
    releases: int
    accountant: str
    limits: str

    @property
    def gaussian(self) -> bool:
        """Whether it speaks of a Gaussian mechanism, whose distance of two means says all."""
        return "gaussian" in self.mechanism.lower()

    def __str__(self) -> str:
        """The guarantee in a sentence."""
        times = "1 release" if self.releases == 1 else f"{self.releases} releases"
        return (
            f"({self.epsilon:.3g}, {self.delta:.3g})-DP for {self.unit} under {self.neighbors}, "
            f"over {times} of {self.released} by {self.mechanism} ({self.accountant}); "
            f"not protected: {self.limits}"
        )
