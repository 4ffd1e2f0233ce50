"""The worst case over attacks, as an interval, and the difference between two worst cases.

No point is shown for a worst case. The largest of several means is too large (by .03 to .05 for
four to twelve equally strong attacks, three victims and a standard deviation of .05), the attack
that is chosen on the other victims is too weak (by .01 to .03 for unequal ones), and the bootstrap
and the jackknife leave half of that. So a defense is ranked by the upper end of the interval.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.special import ndtri

from sltoolkit.errors import SpecError
from sltoolkit.metrics.intervals import (
    UNBOUNDED,
    Interval,
    Over,
    Range,
    alpha_of,
    clipped,
    mean_and_margin,
    paired_difference,
)
from sltoolkit.shapes import PerTarget


@final
@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The most that any attack gains: an interval for the largest true mean gain.

    Attributes:
        attack: the attack with the largest mean gain; empty when no attack is complete.
        low: the lower end; NaN when no attack is complete, or without repetitions.
        high: the upper end; NaN likewise, and when the worst case is incomplete.
        n: the number of repetitions (victim seeds, or targets of one network).
        over: what was repeated.
        missing: the attacks that lack a result, sorted.
    """

    attack: str
    low: float
    high: float
    n: int
    over: Over
    missing: tuple[str, ...]

    @property
    def incomplete(self) -> bool:
        """Whether an attack lacks a result. It may leak any amount, so there is no upper end."""
        return bool(self.missing)


def worst_case(
    gains: Mapping[str, Sequence[float]], confidence: float = 0.95, *, within: Range = UNBOUNDED
) -> WorstCase:
    """The interval for the largest *true* mean gain over attacks.

    With mu_a an attack's true mean gain and alpha = 1 - confidence:

    - The upper end is max_a U_a, with U_a the one-sided (1 - alpha/2) t bound of each attack. It
      needs no correction for several attacks: let a* have the largest true gain; max_a U_a lies
      below mu_a* only if U_a* does, which has probability alpha/2.
    - The lower end is max_a L_a, with L_a one-sided at alpha / (2 A) for A attacks (Bonferroni):
      it lies above max_a mu_a only if some L_a lies above its own mu_a.

    Both hold however the attacks depend on one another, as they do when they share victims.

    An attack with fewer seeds than another, or with a seed that isn't finite, has failed
    somewhere. It isn't judged by its surviving seeds. The other attacks then give a lower end and
    no upper end.

    Args:
        gains: attack -> its mean gain (over targets) for each victim seed, in the same order;
            NaN for a cell that failed.
        confidence: the probability of covering max_a mu_a.
        within: the range of a mean gain; ends beyond it are cut off.

    Raises:
        SpecError: no attacks, or a confidence outside (0, 1).
    """
    alpha = alpha_of(confidence)
    if not gains:
        raise SpecError("a worst case needs at least one attack")
    seeds = max(map(len, gains.values()))
    upper = {a: mean_and_margin(v, alpha / 2) for a, v in _complete(gains, seeds).items()}
    lower = {
        a: mean_and_margin(v, alpha / (2 * len(gains))) for a, v in _complete(gains, seeds).items()
    }
    return _worst(
        means={a: mean for a, (mean, _) in upper.items()},
        lows=[mean - margin for mean, margin in lower.values()],
        highs=[mean + margin for mean, margin in upper.values()],
        missing=gains.keys() - upper.keys(), n=seeds, over="victims", within=within,
    )  # fmt: skip


def worst_case_of_network(
    found: Mapping[str, Interval], confidence: float = 0.95, *, within: Range = UNBOUNDED
) -> WorstCase:
    """The same for one network, from each attack's bootstrap over targets.

    A bootstrap's ends are two-sided, so its upper end needs no correction. Its lower end is moved
    further from the mean, by the ratio of the normal quantiles at alpha / (2 A) and alpha / 2.

    Args:
        found: attack -> interval of its mean gain over targets, with the same confidence; NaN for
            an attack that failed.
        confidence: the probability of covering the network's largest true mean gain.
        within: the range of a mean gain; ends beyond it are cut off.

    Raises:
        SpecError: no attacks, or a confidence outside (0, 1).
    """
    alpha = alpha_of(confidence)
    if not found:
        raise SpecError("a worst case needs at least one attack")
    wider = float(ndtri(alpha / (2 * len(found))) / ndtri(alpha / 2))
    complete = {a: i for a, i in found.items() if math.isfinite(i.value)}
    return _worst(
        means={a: i.value for a, i in complete.items()},
        lows=[i.value - wider * (i.value - i.low) for i in complete.values()],
        highs=[i.high for i in complete.values()],
        missing=found.keys() - complete.keys(), n=max(i.n for i in found.values()),
        over="targets", within=within,
    )  # fmt: skip


def worst_difference(
    a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval for max_i mu_i - max_j nu_j, the difference between two worst cases, in pairs.

    With D_ij the paired difference of attack i on the first and attack j on the second system, the
    sought number is max_i min_j of its mean (and min_j max_i). The upper end is max_i min_j U_ij
    with bounds one-sided at alpha / (2 B) for B attacks on the second system: for the worst attack
    i* on the first, all B bounds hold at once but with probability alpha / 2, and then
    min_j U_i*j is at least the sought number. The lower end is min_j max_i L_ij at alpha / (2 A).

    Args:
        a: attack -> its mean gain on the first system for each victim seed; NaN where it failed.
        b: the same for the second system, with victims of the same seeds in the same order.
        confidence: the probability of covering the difference.

    Returns:
        (low, high). An attack that is missing on the first system leaves no upper end (NaN), one
        that is missing on the second no lower end; a single seed leaves neither.

    Raises:
        SpecError: no attacks, or a confidence outside (0, 1).
    """
    alpha = alpha_of(confidence)
    if not a or not b:
        raise SpecError("a worst case needs at least one attack")
    seeds = max(map(len, (*a.values(), *b.values())))
    first, second = _complete(a, seeds), _complete(b, seeds)
    if not first or not second:
        return math.nan, math.nan
    high = max(
        min(paired_difference(x, y, 1 - alpha / len(b)).high for y in second.values())
        for x in first.values()
    )
    low = min(
        max(paired_difference(x, y, 1 - alpha / len(a)).low for x in first.values())
        for y in second.values()
    )
    return (
        low if len(second) == len(b) else math.nan,
        high if len(first) == len(a) else math.nan,
    )


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


def _complete(gains: Mapping[str, Sequence[float]], seeds: int) -> dict[str, Sequence[float]]:
    """The attacks with a finite gain for every seed."""
    return {
        attack: values
        for attack, values in gains.items()
        if len(values) == seeds > 0 and all(map(math.isfinite, values))
    }


def _worst(
    *, means: Mapping[str, float], lows: Sequence[float], highs: Sequence[float],
    missing: Collection[str], n: int, over: Over, within: Range,
) -> WorstCase:  # fmt: skip
    return WorstCase(
        attack=max(means, key=lambda attack: means[attack], default=""),
        low=clipped(float(np.max(lows, initial=-math.inf)) if means else math.nan, within),
        high=math.nan if missing else clipped(float(np.max(highs)), within),
        n=n if means else 0,
        over=over,
        missing=tuple(sorted(missing)),
    )
