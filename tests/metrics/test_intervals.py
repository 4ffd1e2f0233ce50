"""Intervals: by hand, against scipy, and their coverage by simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from support.simulated import TARGET_SD, TARGETS, WORLDS, at_least, gains

from sltoolkit.errors import SpecError
from sltoolkit.metrics import (
    Interval,
    bootstrap_set,
    bootstrap_targets,
    leak_auc,
    paired_difference,
    surely_below,
    t_interval,
)

pytestmark = pytest.mark.golden


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("seeds", [3, 5])
def test_t_interval_covers_as_often_as_it_says(seeds: int) -> None:
    worlds = gains([0.7], seeds)[:, 0]
    hits = [covers(t_interval(w.mean(-1).tolist()), 0.7) for w in worlds]
    assert np.mean(hits) >= at_least(0.95) > 0.93
    assert np.mean(hits) < 0.97  # nor is it wider than it needs to be


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_over_victims_covers_only_if_every_victim_has_its_own_targets(
    seeds: int,
) -> None:
    """Gains have effects of the victim, of the target, and of both together."""
    rng, shape = np.random.default_rng(seeds), (WORLDS, seeds, TARGETS)
    both = 0.7 + rng.normal(0, 0.3, (WORLDS, seeds, 1)) + rng.normal(0, 0.5, shape)
    own = both + rng.normal(0, TARGET_SD, shape)
    shared = both + rng.normal(0, TARGET_SD, (WORLDS, 1, TARGETS))
    rate = {
        name: np.mean([covers(t_interval(w.mean(-1).tolist()), 0.7) for w in worlds])
        for name, worlds in (("own", own), ("shared", shared))
    }
    assert at_least(0.95) <= rate["own"] < 0.97
    assert rate["shared"] < 0.9


def test_hierarchical_bootstrap_of_three_seeds_covers_far_too_little() -> None:
    """Resampling seeds, then targets within them: why the toolkit uses t over seed means."""
    rng = np.random.default_rng(0)
    worlds, resamples, seeds = gains([0.7], 3, worlds=400)[:, 0], 300, 3
    hits = []
    for world in worlds:
        s = rng.integers(seeds, size=(resamples, seeds, 1))
        t = rng.integers(TARGETS, size=(resamples, seeds, TARGETS))
        low, high = np.quantile(world[s, t].mean((1, 2)), [0.025, 0.975])
        hits.append(low <= 0.7 <= high)
    assert 0.65 < np.mean(hits) < 0.8


def test_t_interval_by_hand() -> None:
    found = t_interval([1.0, 2.0, 4.0])
    mean, standard_error = 7 / 3, math.sqrt(7 / 3) / math.sqrt(3)
    assert found.value == pytest.approx(mean)
    assert found.high - mean == pytest.approx(4.302653 * standard_error, rel=1e-6)
    assert mean - found.low == pytest.approx(4.302653 * standard_error, rel=1e-6)
    assert found.n == 3


def test_one_victim_has_no_interval() -> None:
    found = t_interval([0.5])
    assert (found.value, found.n) == (0.5, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_an_interval_stays_in_the_range_and_covers_as_often() -> None:
    near_one = [0.99, 1.0, 0.97]
    assert t_interval(near_one).high > 1
    found = t_interval(near_one, within=(0.0, 1.0))
    assert (found.low, found.high) == (t_interval(near_one).low, 1.0)

    rng = np.random.default_rng(0)
    worlds = 1 - np.abs(rng.normal(0, 0.02, (WORLDS, 5)))
    truth = 1 - 0.02 * math.sqrt(2 / math.pi)
    whole, within = (
        [covers(t_interval(w.tolist(), within=limits), truth) for w in worlds]
        for limits in ((-math.inf, math.inf), (0.0, 1.0))
    )
    assert whole == within


def test_a_failed_seed_is_not_left_out() -> None:
    found = t_interval([0.5, math.nan, 0.6])
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_pairing_removes_what_the_victims_share() -> None:
    a, b = [10.0, 14.9, 20.1], [9.0, 14.0, 19.0]
    found = paired_difference(a, b)
    assert found == t_interval([x - y for x, y in zip(a, b, strict=True)])
    assert found.low > 0
    assert t_interval(a).low < t_interval(b).high


def test_target_bootstrap_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    found = bootstrap_targets(
        torch.from_numpy(values), np.random.default_rng(1), confidence=0.9, resamples=20_000
    )
    oracle = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.9,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(oracle.low, abs=0.01)
    assert found.high == pytest.approx(oracle.high, abs=0.01)
    assert found.n == 40


def test_target_bootstrap_is_a_function_of_its_generator() -> None:
    values = torch.linspace(0, 1, 30)
    first, second = (bootstrap_targets(values, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert first != bootstrap_targets(values, np.random.default_rng(4))


def test_what_cannot_be_an_interval_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one victim seed"):
        t_interval([])
    with pytest.raises(SpecError, match="between 0 and 1, got 95"):
        t_interval([1.0, 2.0], confidence=95.0)
    with pytest.raises(SpecError, match="got 2 and 1 seeds"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(SpecError, match="at least one target"):
        bootstrap_targets(torch.zeros(0), np.random.default_rng(0))


def test_a_group_is_surely_below_another_as_scipy_says() -> None:
    g = torch.Generator().manual_seed(0)
    decided = set()
    for n, m, apart in ((3, 9, 0.5), (20, 6, 1.5), (12, 12, 0.0), (12, 12, 3.0), (2, 2, 40.0)):
        a, b = torch.randn(n, generator=g), 2 * torch.randn(m, generator=g) + apart
        for confidence in (0.9, 0.999):
            p = stats.ttest_ind(a.double(), b.double(), equal_var=False, alternative="less").pvalue
            assert surely_below(a, b, confidence) == (p < 1 - confidence)
            decided.add(surely_below(a, b, confidence))
    assert decided == {True, False}


def test_groups_without_spread_or_of_one_number() -> None:
    low, high = torch.zeros(3), torch.ones(4)
    assert surely_below(low, high)
    assert not surely_below(high, low)
    assert not surely_below(low, low)
    assert not surely_below(low[:1], high)


def test_bootstrap_says_that_it_is_over_targets() -> None:
    assert bootstrap_targets(torch.rand(9), np.random.default_rng(0)).over == "targets"
    assert t_interval([1.0, 2.0]).over == "victims"


def test_the_bootstrap_of_a_whole_set_is_that_of_a_mean_where_the_metric_is_one() -> None:
    values, nothing = torch.rand(40, dtype=torch.float64), torch.zeros(40)
    means = bootstrap_targets(values, np.random.default_rng(3), resamples=300)
    found = bootstrap_set(
        lambda got, _: got.mean(), values, nothing, np.random.default_rng(3), resamples=300
    )
    assert (found.low, found.high) == pytest.approx((means.low, means.high))
    assert found.over == "targets"


@pytest.mark.slow
def test_the_bootstrap_of_leak_auc_covers_the_truth() -> None:
    """Scores are normal, with means one apart, so the true AUC is Phi(1 / sqrt(2))."""
    generator, rng, truth, hits = (
        torch.Generator().manual_seed(0),
        np.random.default_rng(0),
        0.0,
        [],
    )
    truth, hits = float(stats.norm.cdf(1 / math.sqrt(2))), list[bool]()
    for _ in range(150):
        y = torch.arange(80) % 2
        score = torch.randn(80, generator=generator) + y
        found = bootstrap_set(leak_auc, torch.stack([-score, score], 1), y, rng, resamples=200)
        hits.append(covers(found, truth))
    assert np.mean(hits) >= at_least(0.93, len(hits))


def test_a_set_with_a_single_class_in_a_resample_still_has_its_interval() -> None:
    scores, y = torch.eye(2)[[0, 0, 1]], torch.tensor([0, 0, 1])
    found = bootstrap_set(leak_auc, scores, y, np.random.default_rng(0))
    assert (found.low, found.value, found.high) == (1, 1, 1)
    with pytest.raises(SpecError, match="all targets are of one"):
        bootstrap_set(leak_auc, scores[:2], y[:2], np.random.default_rng(0))
