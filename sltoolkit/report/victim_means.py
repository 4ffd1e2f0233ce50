"""One number per victim seed, and its mean over victims with its interval, as columns."""

import math
from collections.abc import Hashable

import pandas as pd

from sltoolkit.metrics import Interval

NOTHING_MEASURED = Interval(value=math.nan, low=math.nan, high=math.nan, n=0)


def by_seed(rows: pd.DataFrame, column: str) -> dict[Hashable, float]:
    """Victim seed -> a number of the victim itself, which all its rows share if they have it."""
    return {seed: float(v) for seed, v in rows.groupby("victim_seed")[column].mean().items()}


def spread_columns(name: str, interval: Interval) -> dict[str, float]:
    """An interval as the columns `name`, `name_low` and `name_high`."""
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
