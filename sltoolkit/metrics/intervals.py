"""Intervals over victims, and the worst case over attacks.

The victim's seed is the unit of repetition: equally accurate victims differ by many dB, so an
interval that resamples only targets is about one fixed victim, and a bootstrap of a handful of
seeds is far too narrow (72 % coverage instead of 95 at three seeds).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import PerTarget


@final
@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        value: the estimate.
        low: the lower end; NaN for a single repetition.
        high: the upper end; NaN for a single repetition.
        n: the number of repetitions behind it (victim seeds, or targets of one victim).
    """

    value: float
    low: float
    high: float
    n: int


@final
@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The most that any attack gains.

    Attributes:
        attack: the attack with the largest mean gain; empty when no attack is complete.
        interval: the interval for the largest true mean gain.
        incomplete: whether an attack lacks a result. The value is then a lower bound: the missing
            attack may leak any amount, so the upper end bounds the complete attacks only.
        missing: the attacks that lack a result, sorted.
    """

    attack: str
    interval: Interval
    incomplete: bool
    missing: tuple[str, ...]


def t_interval(seed_means: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean over victim seeds.

    Args:
        seed_means: one number per victim seed, already averaged over targets.
        confidence: the probability of covering the true mean.

    Returns:
        The interval. With one seed its ends are NaN; with a NaN among the means all of it is,
        because a failed seed is not left out.

    Raises:
        SpecError: no seeds, or a confidence outside (0, 1).
    """
    alpha = _alpha(confidence)
    value, margin = _mean_and_margin(seed_means, alpha / 2)
    return Interval(value=value, low=value - margin, high=value + margin, n=len(seed_means))


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """The t interval of the mean of a - b, paired by victim seed.

    Raises:
        SpecError: different numbers of seeds, none, or a confidence outside (0, 1).
    """
    if len(a) != len(b):
        raise SpecError(f"pairs share a victim seed, got {len(a)} and {len(b)} seeds")
    return t_interval([x - y for x, y in zip(a, b, strict=True)], confidence)


def bootstrap_targets(
    per_target: PerTarget,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """The percentile bootstrap of a mean over targets, for one *stated, fixed* victim.

    It says nothing about another victim trained in the same way; that is `t_interval`.

    Args:
        per_target: (n,), one number per target.
        rng: draws the resamples.
        confidence: the probability of covering the victim's true mean.
        resamples: the number of resamples.

    Raises:
        SpecError: no targets, or a confidence outside (0, 1).
    """
    alpha, n = _alpha(confidence), len(per_target)
    if n == 0:
        raise SpecError("an interval needs at least one target")
    values = per_target.detach().double().cpu().numpy()
    means = [values[rng.integers(n, size=n)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return Interval(value=float(values.mean()), low=float(low), high=float(high), n=n)


def worst_case(gains: Mapping[str, Sequence[float]], confidence: float = 0.95) -> WorstCase:
    """The largest mean gain over attacks, with an interval for the largest *true* mean gain.

    The largest of several noisy means is too large on average, so its own t interval would be
    wrong. With mu_a an attack's true mean gain and alpha = 1 - confidence:

    - The upper end is max_a U_a, with U_a the one-sided (1 - alpha/2) t bound of each attack. It
      needs no correction for several attacks: let a* have the largest true gain; max_a U_a lies
      below mu_a* only if U_a* does, which has probability alpha/2.
    - The lower end is max_a L_a, with L_a one-sided at alpha / (2 A) for A attacks (Bonferroni):
      it lies above max_a mu_a only if some L_a lies above its own mu_a.

    Both hold however the attacks depend on one another, as they do when they share victims.

    An attack with fewer seeds than another, or with a seed that isn't finite, has failed
    somewhere. It isn't judged by its surviving seeds. The other attacks then give a lower bound,
    which is marked incomplete.

    Args:
        gains: attack -> its mean gain (over targets) for each victim seed, in the same order;
            NaN for a cell that failed.
        confidence: the probability of covering max_a mu_a.

    Returns:
        The worst case. Its value and ends are NaN when no attack is complete; only the ends are
        when there is one seed.

    Raises:
        SpecError: no attacks, or a confidence outside (0, 1).
    """
    alpha = _alpha(confidence)
    if not gains:
        raise SpecError("a worst case needs at least one attack")
    seeds = max(map(len, gains.values()))
    complete = {
        attack: values
        for attack, values in gains.items()
        if len(values) == seeds > 0 and all(map(math.isfinite, values))
    }
    missing = tuple(sorted(gains.keys() - complete.keys()))
    if not complete:
        nothing = Interval(value=math.nan, low=math.nan, high=math.nan, n=0)
        return WorstCase(attack="", interval=nothing, incomplete=True, missing=missing)
    upper = {a: _mean_and_margin(v, alpha / 2) for a, v in complete.items()}
    lower = {a: _mean_and_margin(v, alpha / (2 * len(gains))) for a, v in complete.items()}
    attack = max(upper, key=lambda a: upper[a][0])
    interval = Interval(
        value=upper[attack][0],
        low=max(mean - margin for mean, margin in lower.values()),
        high=max(mean + margin for mean, margin in upper.values()),
        n=seeds,
    )
    return WorstCase(attack=attack, interval=interval, incomplete=bool(missing), missing=missing)


def envelope(per_target_by_attack: Mapping[str, PerTarget]) -> PerTarget:
    """The largest gain per target over attacks: an *oracle*, which no attacker can choose.

    Even over useless attacks it shows a large 'leak', so it is shown only beside the same
    envelope over the baselines, and never as a worst case.

    Args:
        per_target_by_attack: attack -> (n,) gains of the same targets, higher = more leak.

    Returns:
        (n,); NaN for a target that some attack has no number for.

    Raises:
        SpecError: no attacks, or different numbers of targets.
    """
    if len({len(values) for values in per_target_by_attack.values()}) != 1:
        raise SpecError("an envelope needs at least one attack, all on the same targets")
    return torch.stack(list(per_target_by_attack.values())).amax(0)


def surely_below(first: Tensor, second: Tensor, confidence: float = 0.999) -> bool:
    """Whether one group's mean is below another's beyond chance, by Welch's one-sided t test.

    Args:
        first: the group that may be below, (N,); at least two numbers.
        second: the other group, (M,); a smaller group than two tells nothing.
        confidence: the probability that equal groups aren't told apart.

    Raises:
        SpecError: a confidence outside (0, 1).
    """
    alpha = _alpha(confidence)
    if min(len(first), len(second)) < 2:
        return False
    apart = float(second.double().mean() - first.double().mean())
    spread, other = (float(g.double().var()) / len(g) for g in (first, second))
    if spread + other == 0:
        return apart > 0
    freedom = (spread + other) ** 2 / (spread**2 / (len(first) - 1) + other**2 / (len(second) - 1))
    return apart > float(stdtrit(freedom, 1 - alpha)) * math.sqrt(spread + other)


def _alpha(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise SpecError(f"a confidence lies strictly between 0 and 1, got {confidence}")
    return 1 - confidence


def _mean_and_margin(values: Sequence[float], tail: float) -> tuple[float, float]:
    """A mean, and how far above it its one-sided t bound with error probability `tail` lies."""
    n = len(values)
    if n == 0:
        raise SpecError("an interval needs at least one victim seed")
    mean = float(np.mean(values))
    if n == 1:
        return mean, math.nan
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, -float(stdtrit(n - 1, tail)) * standard_error
