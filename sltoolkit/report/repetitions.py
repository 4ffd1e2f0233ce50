"""Intervals from rows: over victims, or over the targets of one network.

Where victims were trained anew, the interval is Student's t over the means of victim seeds. A
network that was trained once gets the bootstrap over its targets, whose ends are in its rows.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from sltoolkit.metrics import METRICS, UNBOUNDED, Interval, Over, Range, gain_range, t_interval

Measured = Literal["value", "baseline", "gain"]
"""The columns that are averaged over repetitions."""

_ENDS = {"value": ("ci_low", "ci_high"), "gain": ("gain_low", "gain_high")}
"""Column -> the columns with the ends of its bootstrap over targets."""


def over(rows: pd.DataFrame) -> Over:
    """What the rows of one defense or attack repeat: victims, or targets of one network."""
    done = rows[rows["status"] == "ok"]
    networks = set(done["network"])
    one = rows["victim_seed"].nunique() == 1 or (len(networks) == 1 and networks != {""})
    return "targets" if one else "victims"


def seed_means(
    cells: pd.DataFrame, seeds: Sequence[Hashable], metric: str, column: str
) -> list[float]:
    """One mean over attacker seeds for each victim seed.

    NaN where one of a victim's cells failed or lacks the metric, since others can't replace it.
    """
    return [_seed_mean(cells[cells["victim_seed"] == seed], metric, column) for seed in seeds]


def interval(
    cells: pd.DataFrame, seeds: Sequence[Hashable], metric: str, column: Measured, repeated: Over
) -> Interval:
    """The mean of a column with its interval, within the range of the metric.

    Where one network was attacked under several seeds, the ends of its bootstraps are averaged.

    Args:
        cells: the rows of one attack.
        seeds: the victim seeds that it should have.
        metric: the metric.
        column: what to average.
        repeated: what the interval is over.
    """
    means = seed_means(cells, seeds, metric, column)
    if repeated == "victims":
        return t_interval(means, within=bounds(cells, seeds, metric, column))
    ends = [float(np.mean(seed_means(cells, seeds, metric, end))) for end in _ENDS.get(column, ())]
    low, high = ends or (math.nan, math.nan)
    n = cells.loc[cells["metric"] == metric, "n"].max()
    return Interval(
        value=float(np.mean(means)), low=low, high=high, n=0 if pd.isna(n) else int(n),
        over="targets",
    )  # fmt: skip


def bounds(cells: pd.DataFrame, seeds: Sequence[Hashable], metric: str, column: Measured) -> Range:
    """The range in which the mean of a column lies.

    A gain can be as large as the metric's bounds leave room beyond the baseline, whose mean is
    known up to its own interval.
    """
    about, own = METRICS.get(metric), cells[cells["metric"] == metric]
    seen = own[["value", "baseline"]].astype(float)
    if about is None or not _within(seen, (about.lower_bound, about.upper_bound)):
        return UNBOUNDED  # features have no range, and neither have their errors
    whole = (about.lower_bound, about.upper_bound)
    if column != "gain":
        return whole
    prior = t_interval(seed_means(cells, seeds, metric, "baseline"), within=whole)
    known = math.isfinite(prior.low)
    return gain_range(about, (prior.low, prior.high) if known else whole)


def _within(seen: pd.DataFrame, limits: Range) -> bool:
    return bool(((seen >= limits[0]) & (seen <= limits[1]) | seen.isna()).all(axis=None))


def _seed_mean(own: pd.DataFrame, metric: str, column: str) -> float:
    if bool((own["status"] == "failed").any()):
        return math.nan
    kept = own[own["metric"] == metric]
    return float(kept[column].astype(float).mean(skipna=False))
