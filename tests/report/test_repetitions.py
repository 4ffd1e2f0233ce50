"""What an interval from rows is over, and in which range it lies."""

import math

import numpy as np
import pandas as pd
import pytest
from support.rows import make_rows

from sltoolkit.metrics import UNBOUNDED, t_interval
from sltoolkit.report.repetitions import bounds, interval, over, seed_means

ROWS = make_rows(with_labels=False).assign(network="")
OWN = ROWS[(ROWS.defense == "none") & (ROWS.attack == "whitebox")]
SEEDS = (0, 1, 2)


def test_one_seed_or_one_network_repeats_targets() -> None:
    assert over(OWN) == "victims"  # rows of an older version name no network
    assert over(OWN[OWN.victim_seed == 0]) == "targets"
    assert over(OWN.assign(network="a")) == "targets"
    assert over(OWN.assign(network=OWN.victim_seed.map(str))) == "victims"


def test_a_failed_cell_leaves_no_mean_of_its_victim() -> None:
    failed = OWN.assign(status=["failed" if s == 1 else "ok" for s in OWN.victim_seed])
    found = seed_means(failed, SEEDS, "ssim", "gain")
    assert found[::2] == pytest.approx([0.80, 0.84])
    assert math.isnan(found[1])
    assert math.isnan(seed_means(OWN, (0, 7), "ssim", "gain")[1])


def test_over_victims_it_is_students_t_within_the_metric() -> None:
    found = interval(OWN, SEEDS, "ssim", "value", "victims")
    assert found == t_interval(seed_means(OWN, SEEDS, "ssim", "value"), within=(-1.0, 1.0))


def test_over_targets_the_ends_of_the_bootstraps_are_averaged() -> None:
    ends = OWN.assign(gain_low=0.1 * OWN.victim_seed, gain_high=1.0, network="a")
    found = interval(ends, SEEDS, "ssim", "gain", "targets")
    assert (found.value, found.low, found.high) == pytest.approx((0.82, 0.1, 1.0))
    assert (found.over, found.n) == ("targets", 16)
    prior = interval(ends, SEEDS, "ssim", "baseline", "targets")
    assert prior.value == pytest.approx(0.1)
    assert math.isnan(prior.low)


def test_a_gain_ends_where_the_baseline_leaves_no_room() -> None:
    assert bounds(OWN, SEEDS, "ssim", "value") == (-1.0, 1.0)
    assert bounds(OWN, SEEDS, "ssim", "gain") == pytest.approx((-1.1, 0.9))
    errors = OWN[OWN.metric == "ssim"].assign(metric="mse", value=0.2, baseline=0.5)
    assert bounds(errors, SEEDS, "mse", "gain") == pytest.approx((-0.5, 0.5))


def test_errors_of_features_have_no_range() -> None:
    errors = OWN[OWN.metric == "ssim"].assign(metric="mse", value=3.0, baseline=2.0)
    assert bounds(errors, SEEDS, "mse", "gain") == UNBOUNDED


def test_the_range_of_a_perfect_attacks_gain_loses_no_coverage() -> None:
    """Its gain is what the baseline leaves, which differs between victims."""
    rng, hits = np.random.default_rng(0), []
    for _ in range(300):
        prior = 0.3 + rng.normal(0, 0.05, 3)
        rows = pd.DataFrame(
            {"victim_seed": range(3), "metric": "ssim", "value": 1.0, "baseline": prior,
             "gain": 1 - prior, "status": "ok"}
        )  # fmt: skip
        found = interval(rows, SEEDS, "ssim", "gain", "victims")
        hits.append(found.low <= 0.7 <= found.high)
    assert np.mean(hits) > 0.91
