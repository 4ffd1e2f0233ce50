"""The worst case over a family's attacks, from rows."""

from collections.abc import Collection, Hashable, Mapping, Sequence

import pandas as pd

from sltoolkit.metrics import (
    METRICS,
    UNBOUNDED,
    Interval,
    Over,
    Range,
    WorstCase,
    worst_case,
    worst_case_of_network,
)
from sltoolkit.report.repetitions import Measured, bounds, interval, seed_means


def attacks_of(cells: pd.DataFrame, ran: Collection[str]) -> dict[str, pd.DataFrame]:
    """Attack -> its rows; none for an attack that was only run against other defenses.

    Args:
        cells: a family's rows of one defense.
        ran: the attacks of the family that were run against any defense of the setting.
    """
    found = {str(name): own for name, own in cells.groupby("variant", sort=False)}
    return found | dict.fromkeys(set(ran) - set(cells["attack"]), cells.iloc[:0])


def worst_gain(
    attacks: Mapping[str, pd.DataFrame], seeds: Sequence[Hashable], metric: str, repeated: Over
) -> WorstCase:
    """The interval for the largest mean gain over attacks.

    Args:
        attacks: attack -> its rows.
        seeds: the victim seeds that each should have.
        metric: the metric.
        repeated: what the interval is over.
    """
    return _worst(attacks, seeds, metric, "gain", repeated, leaks_upward=True)


def worst_value(
    attacks: Mapping[str, pd.DataFrame], seeds: Sequence[Hashable], metric: str, repeated: Over
) -> Range:
    """The interval for the mean of the metric that leaks most: the largest, or the smallest.

    Args:
        attacks: attack -> its rows.
        seeds: the victim seeds that each should have.
        metric: the metric.
        repeated: what the interval is over.
    """
    upward = METRICS[metric].higher_is_more_leak
    found = _worst(attacks, seeds, metric, "value", repeated, leaks_upward=upward)
    return (found.low, found.high) if upward else (-found.high, -found.low)


def _worst(
    attacks: Mapping[str, pd.DataFrame], seeds: Sequence[Hashable], metric: str, column: Measured,
    repeated: Over, *, leaks_upward: bool,
) -> WorstCase:  # fmt: skip
    sign = 1 if leaks_upward else -1
    ranges = [bounds(own, seeds, metric, column) for own in attacks.values() if len(own)]
    ends = [sign * end for limits in ranges or [UNBOUNDED] for end in limits]
    within = (min(ends), max(ends))
    if repeated == "targets":
        return worst_case_of_network(
            {a: _turned(interval(own, seeds, metric, column, "targets"), sign)
             for a, own in attacks.items()},
            within=within,
        )  # fmt: skip
    return worst_case(
        {a: [sign * m for m in seed_means(own, seeds, metric, column)]
         for a, own in attacks.items()},
        within=within,
    )  # fmt: skip


def _turned(found: Interval, sign: int) -> Interval:
    ends = sorted((sign * found.low, sign * found.high))
    return Interval(value=sign * found.value, low=ends[0], high=ends[1], n=found.n, over="targets")
