"""Numbers per victim seed: what is averaged, and what a failure leaves."""

import math

import pandas as pd
import pytest

from sltoolkit.metrics import Interval
from sltoolkit.report.victim_means import by_seed, spread_columns

NAN = math.nan
CELLS = pd.DataFrame(
    {
        "victim_seed": [0, 0, 1, 1, 2],
        "status": ["ok", "ok", "ok", "failed", "ok"],
        "metric": ["ssim", "ssim", "ssim", None, "mse"],
        "gain": [0.2, 0.4, 0.9, NAN, 0.1],
        "utility": [0.8, 0.8, 0.7, NAN, NAN],
    }
)


def test_a_failed_attack_does_not_hide_a_number_of_its_victim() -> None:
    found = by_seed(CELLS, "utility")
    assert (found[0], found[1]) == pytest.approx((0.8, 0.7))
    assert math.isnan(found[2])


def test_an_interval_becomes_three_columns() -> None:
    found = spread_columns("x", Interval(value=2.0, low=1.0, high=3.0, n=5))
    assert found == {"x": 2.0, "x_low": 1.0, "x_high": 3.0}
