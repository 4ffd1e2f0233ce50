"""The difference between two worst cases, such as what a defense takes from the leak."""

import math
from collections.abc import Mapping, Sequence

from sltoolkit.errors import SpecError
from sltoolkit.metrics.intervals import paired_difference


def worst_difference(
    a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]], confidence: float = 0.95
) -> tuple[float, float]:
    """The interval for max_i mu_i - max_j nu_j, the difference between two worst cases, in pairs.

    With D_ij the paired difference of attack i on the first and attack j on the second system, the
    sought number is min_j max_i of its mean (and max_i min_j). The lower end is min_j max_i L_ij
    with bounds one-sided at alpha / (2 A) for A attacks on the first system: for the worst attack
    j* on the second, all A bounds hold at once but with probability alpha / 2, and then
    max_i L_ij* is at most the sought number. The upper end is max_i min_j U_ij at alpha / (2 B).

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
    if not a or not b:
        raise SpecError("a worst case needs at least one attack")
    seeds, alpha = max(map(len, (*a.values(), *b.values()))), 1 - confidence
    first, second = _complete(a, seeds), _complete(b, seeds)
    if not first or not second:
        return math.nan, math.nan
    low = min(max(paired_difference(x, y, 1 - alpha / len(a)).low for x in first) for y in second)
    high = max(min(paired_difference(x, y, 1 - alpha / len(b)).high for y in second) for x in first)
    return (
        low if len(second) == len(b) else math.nan,
        high if len(first) == len(a) else math.nan,
    )


def _complete(gains: Mapping[str, Sequence[float]], seeds: int) -> list[Sequence[float]]:
    """The gains of attacks with a finite one for every seed."""
    return [v for v in gains.values() if len(v) == seeds > 0 and all(map(math.isfinite, v))]
