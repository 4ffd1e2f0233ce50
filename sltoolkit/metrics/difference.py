"""How much less a defense leaks: the paired difference of two worst cases."""

import math
from collections.abc import Hashable, Mapping

from sltoolkit.metrics.intervals import Interval, paired_difference

Gains = Mapping[str, Mapping[Hashable, float]]
"""Attack -> victim seed -> mean gain over targets."""


def worst_case_drop(plain: Gains, defended: Gains, confidence: float = 0.95) -> Interval:
    """By how much the largest true mean gain drops under a defense, paired by victim seed.

    With mu_a the true mean gain of attack a on undefended victims, and nu_b that of attack b on
    defended ones, the drop is max_a mu_a - max_b nu_b = max_a min_b (mu_a - nu_b), which is also
    min_b max_a (mu_a - nu_b). With alpha = 1 - confidence, and bounds of paired differences:

    - The lower end is max_a min_b L_ab, with L_ab one-sided at alpha / (2 A) for A attacks on
      undefended victims (Bonferroni). No correction for the attacks b is needed: let b* have the
      largest nu; min_b L_ab lies above mu_a - nu_b* only if L_ab* does.
    - The upper end is min_b max_a U_ab, with U_ab one-sided at alpha / (2 B), for the same reason.

    Only attacks with a finite gain for every seed that both sides have are compared. If an attack
    on undefended victims is missing, the drop may be larger; if one on defended victims is
    missing, it may be smaller, down to any amount.

    Args:
        plain: the gains on undefended victims.
        defended: the gains on defended victims.
        confidence: the probability of covering the true drop.

    Returns:
        The interval; its ends are NaN for a single pair of victims, and all of it is NaN where no
        attack is complete on a side, or the sides share no victim seed.

    Raises:
        SpecError: a confidence outside (0, 1).
    """
    seeds = sorted(_seeds(plain) & _seeds(defended), key=str)
    a, b = (_complete(side, seeds) for side in (plain, defended))
    if not (seeds and a and b):
        return Interval(value=math.nan, low=math.nan, high=math.nan, n=0)
    alpha = 1 - confidence

    def pairs(tests: int) -> list[list[Interval]]:
        """The differences (attack on undefended, attack on defended), for this many tests."""
        level = 1 - alpha / tests
        return [[paired_difference(x, y, level) for y in b] for x in a]

    lower, upper = pairs(len(a)), pairs(len(b))
    return Interval(
        value=max(min(d.value for d in against) for against in lower),
        low=max(min(d.low for d in against) for against in lower),
        high=min(max(against[k].high for against in upper) for k in range(len(b))),
        n=len(seeds),
    )


def _seeds(gains: Gains) -> set[Hashable]:
    return {seed for own in gains.values() for seed in own}


def _complete(gains: Gains, seeds: list[Hashable]) -> list[list[float]]:
    """The gains, by seed, of each attack that has one for every seed."""
    found = [[own.get(seed, math.nan) for seed in seeds] for own in gains.values()]
    return [values for values in found if all(map(math.isfinite, values))]
