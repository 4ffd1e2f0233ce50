"""Confidence intervals of a mean: over victims, or over the targets of one network.

The victim's seed is the unit of repetition: equally accurate victims differ by many dB, so an
interval that resamples only targets is about one fixed network, and a bootstrap of a handful of
seeds is far too narrow (72 % coverage instead of 95 at three seeds).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import PerTarget

Over = Literal["victims", "targets"]
"""What was repeated: victims were trained anew, or one network was asked about many targets."""

Range = tuple[float, float]
"""The smallest and the largest possible value."""

UNBOUNDED: Range = (-math.inf, math.inf)


@final
@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        value: the estimate.
        low: the lower end; NaN for a single victim whose targets weren't resampled.
        high: the upper end; NaN likewise.
        n: the number of repetitions behind it (victim seeds, or targets of one network).
        over: what was repeated.
    """

    value: float
    low: float
    high: float
    n: int
    over: Over = "victims"


def t_interval(
    seed_means: Sequence[float], confidence: float = 0.95, *, within: Range = UNBOUNDED
) -> Interval:
    """Student's t interval of a mean over victim seeds.

    Args:
        seed_means: one number per victim seed, already averaged over targets.
        confidence: the probability of covering the true mean.
        within: the range of the mean. Ends beyond it are cut off, which loses no coverage, since
            the true mean lies in the range.

    Returns:
        The interval. With one seed its ends are NaN; with a NaN among the means all of it is,
        because a failed seed is not left out.

    Raises:
        SpecError: no seeds, or a confidence outside (0, 1).
    """
    value, margin = mean_and_margin(seed_means, alpha_of(confidence) / 2)
    low, high = clipped(value - margin, within), clipped(value + margin, within)
    return Interval(value=value, low=low, high=high, n=len(seed_means))


def paired_difference(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95, *, within: Range = UNBOUNDED
) -> Interval:
    """The t interval of the mean of a - b, paired by victim seed.

    Args:
        a: one number per victim seed.
        b: the same for other victims of the same seeds, in the same order.
        confidence: the probability of covering the true mean.
        within: the range of the mean, as for `t_interval`.

    Raises:
        SpecError: different numbers of seeds, none, or a confidence outside (0, 1).
    """
    if len(a) != len(b):
        raise SpecError(f"pairs share a victim seed, got {len(a)} and {len(b)} seeds")
    return t_interval([x - y for x, y in zip(a, b, strict=True)], confidence, within=within)


def bootstrap_targets(
    per_target: PerTarget,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """The percentile bootstrap of a mean over targets, for one *stated, fixed* network.

    It says nothing about another victim trained in the same way; that is `t_interval`. It lies
    within the range of the numbers.

    Args:
        per_target: (n,), one number per target.
        rng: draws the resamples.
        confidence: the probability of covering the network's true mean.
        resamples: the number of resamples.

    Raises:
        SpecError: no targets, or a confidence outside (0, 1).
    """
    values = per_target.detach().double().cpu().numpy()
    return _bootstrap(
        lambda drawn: float(values[drawn].mean()), len(values), rng, confidence, resamples
    )


def bootstrap_set(
    metric: Callable[[Tensor, Tensor], Tensor],
    recovered: Tensor,
    truth: Tensor,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
) -> Interval:
    """The same for a metric of a whole set of targets, such as leak AUC.

    Args:
        metric: a function of (what was recovered, the truth), both with one row per target.
        recovered: (n, ...).
        truth: (n, ...).
        rng: draws the resamples.
        confidence: the probability of covering the network's true value.
        resamples: the number of resamples. Those for which the metric isn't defined, since they
            hold a single class, are left out.

    Raises:
        SpecError: no targets, a confidence outside (0, 1), or a metric that isn't defined for these
            targets.
    """

    def score(drawn: NDArray[np.int64]) -> float:
        rows = torch.from_numpy(drawn)
        try:
            return float(metric(recovered[rows], truth[rows]))
        except SpecError:
            return math.nan

    recovered, truth = recovered.detach().cpu(), truth.detach().cpu()
    metric(recovered, truth)
    return _bootstrap(score, len(truth), rng, confidence, resamples)


def _bootstrap(
    score: Callable[[NDArray[np.int64]], float], n: int, rng: np.random.Generator,
    confidence: float, resamples: int,
) -> Interval:  # fmt: skip
    """The percentile bootstrap of a score of n targets, which are given by their indices."""
    alpha = alpha_of(confidence)
    if n == 0:
        raise SpecError("an interval needs at least one target")
    scores = [score(rng.integers(n, size=n)) for _ in range(resamples)]
    low, high = np.nanquantile(scores, [alpha / 2, 1 - alpha / 2])
    value = score(np.arange(n))
    return Interval(value=value, low=float(low), high=float(high), n=n, over="targets")


def surely_below(first: Tensor, second: Tensor, confidence: float = 0.999) -> bool:
    """Whether one group's mean is below another's beyond chance, by Welch's one-sided t test.

    Args:
        first: the group that may be below, (N,); at least two numbers.
        second: the other group, (M,); a smaller group than two tells nothing.
        confidence: the probability that equal groups aren't told apart.

    Raises:
        SpecError: a confidence outside (0, 1).
    """
    alpha = alpha_of(confidence)
    if min(len(first), len(second)) < 2:
        return False
    apart = float(second.double().mean() - first.double().mean())
    spread, other = (float(g.double().var()) / len(g) for g in (first, second))
    if spread + other == 0:
        return apart > 0
    freedom = (spread + other) ** 2 / (spread**2 / (len(first) - 1) + other**2 / (len(second) - 1))
    return apart > float(stdtrit(freedom, 1 - alpha)) * math.sqrt(spread + other)


def alpha_of(confidence: float) -> float:
    """The probability of missing the truth.

    Raises:
        SpecError: if the confidence isn't a probability.
    """
    if not 0 < confidence < 1:
        raise SpecError(f"a confidence lies strictly between 0 and 1, got {confidence}")
    return 1 - confidence


def mean_and_margin(values: Sequence[float], tail: float) -> tuple[float, float]:
    """A mean, and how far above it its one-sided t bound with error probability `tail` lies.

    Raises:
        SpecError: no values.
    """
    n = len(values)
    if n == 0:
        raise SpecError("an interval needs at least one victim seed")
    mean = float(np.mean(values))
    if n == 1:
        return mean, math.nan
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, -float(stdtrit(n - 1, tail)) * standard_error


def clipped(value: float, within: Range) -> float:
    """The nearest number in the range; NaN stays NaN."""
    return value if math.isnan(value) else min(max(value, within[0]), within[1])
