"""The Gaussian mechanism, exactly.

A release v + N(0, sigma^2 I) of a vector with l2 sensitivity Delta is (epsilon, delta)-private
exactly when (Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy",
theorem 8)

    delta >= Phi(1/(2r) - epsilon r) - e^epsilon Phi(-1/(2r) - epsilon r),   r = sigma / Delta.

Only the noise ratio r matters. Alternatives that are not used:

- The textbook sigma = Delta sqrt(2 ln(1.25/delta)) / epsilon is proved only for epsilon < 1, and
  adds too little noise for large epsilon (from about 8.42 at delta = 1e-5).
- opacus' `RDPAccountant` and `PRVAccountant` are valid upper bounds of this curve. Its
  `GaussianAccountant` is not a bound: it takes mu from a central limit of Poisson-subsampled
  steps and can under-report.
"""

import math
from collections.abc import Callable

from scipy.special import erfcx, log_ndtr

from sltoolkit.errors import SpecError


def delta_of(epsilon: float, noise_ratio: float) -> float:
    """The smallest delta at which one release is (epsilon, delta)-private.

    Args:
        epsilon: at least 0.
        noise_ratio: sigma / Delta, at least 1e-150.

    Raises:
        SpecError: an argument is outside its range.
    """
    _require(math.isfinite(epsilon) and epsilon >= 0, "epsilon", "finite and at least 0", epsilon)
    _require_ratio(noise_ratio)
    return _delta(epsilon, noise_ratio)


def epsilon_of(delta: float, noise_ratio: float) -> float:
    """The smallest epsilon at which one release is (epsilon, delta)-private.

    It is rounded up: `delta_of(epsilon_of(delta, r), r) <= delta`.

    Args:
        delta: strictly between 0 and 1.
        noise_ratio: sigma / Delta, at least 1e-150.

    Raises:
        SpecError: an argument is outside its range.
    """
    _require_delta(delta)
    _require_ratio(noise_ratio)
    if _delta(0.0, noise_ratio) <= delta:
        return 0.0
    return _least(lambda epsilon: _delta(epsilon, noise_ratio) <= delta)


def noise_for(epsilon: float, delta: float) -> float:
    """The smallest noise ratio sigma / Delta that makes one release (epsilon, delta)-private.

    It is rounded up: `delta_of(epsilon, noise_for(epsilon, delta)) <= delta`.

    Args:
        epsilon: positive, at most 1e280.
        delta: strictly between 0 and 1.

    Raises:
        SpecError: an argument is outside its range.
    """
    _require(0 < epsilon <= 1e280, "epsilon", "positive and at most 1e280", epsilon)
    _require_delta(delta)
    return _least(lambda noise_ratio: _delta(epsilon, noise_ratio) <= delta)


def compose(noise_ratio: float, releases: int) -> float:
    """The noise ratio of the one Gaussian release that equals `releases` of this ratio.

    This is exact, also for releases chosen adaptively (Dong, Roth and Su 2022, "Gaussian
    differential privacy", corollary 3.3). Nothing is gained from subsampling, because the receiver
    of the releases sees which record each one came from.

    Raises:
        SpecError: an argument is outside its range.
    """
    _require_ratio(noise_ratio)
    _require(releases >= 1, "releases", "at least 1", releases)
    return noise_ratio / math.sqrt(releases)


def _delta(epsilon: float, noise_ratio: float) -> float:
    # In logarithms: e^epsilon overflows, and so far out the difference of the terms cancels.
    half, shift = 0.5 / noise_ratio, epsilon * noise_ratio
    first = float(log_ndtr(half - shift))
    if first == -math.inf:
        return 0.0
    second = (
        epsilon + float(log_ndtr(-half - shift)) if epsilon <= 1e6
        else _far_out(half, shift)
    )  # fmt: skip
    return math.exp(first) * -math.expm1(min(second - first, 0.0))


def _far_out(half: float, shift: float) -> float:
    """The sum epsilon + log Phi(-half - shift), for an epsilon so large that it cancels.

    Since 2 half shift = epsilon, and Phi(-t) = exp(-t^2 / 2) erfcx(t / sqrt 2) / 2, it equals
    log(erfcx((half + shift) / sqrt 2) / 2) - (half - shift)^2 / 2.
    """
    apart = half - shift
    return math.log(float(erfcx((half + shift) / math.sqrt(2))) / 2) - apart * apart / 2


def _least(holds: Callable[[float], bool]) -> float:
    """The least positive number at which `holds`, which is true from there on; never below it."""
    high = 1.0
    while not holds(high):
        high *= 2
    while holds(high / 2):
        high /= 2
    low = high / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _require_ratio(noise_ratio: float) -> None:
    _require(
        1e-150 <= noise_ratio < math.inf,
        "noise_ratio", "finite and at least 1e-150", noise_ratio,
    )  # fmt: skip


def _require_delta(delta: float) -> None:
    _require(0 < delta < 1, "delta", "strictly between 0 and 1", delta)


def _require(holds: bool, name: str, expected: str, value: float) -> None:
    if not holds:
        raise SpecError(f"{name} of a Gaussian mechanism must be {expected}, got {value}")
