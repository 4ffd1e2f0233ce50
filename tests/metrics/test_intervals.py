"""Intervals: by hand, against scipy, and their coverage by simulation.

The simulated world: an attack's gain on a target = its true mean + an effect of the victim's seed
(shared in part by all attacks on that victim) + noise of the target.
"""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import (
    Interval,
    bootstrap_targets,
    envelope,
    paired_difference,
    t_interval,
    worst_case,
)

pytestmark = pytest.mark.golden

Array = NDArray[np.float64]
WORLDS = 2000
TARGETS = 16
SEED_SD, TARGET_SD = 1.0, 1.0


def at_least(nominal: float, worlds: int = WORLDS) -> float:
    """The coverage that an exact interval undercuts with probability 0.001."""
    return float(stats.binom.ppf(0.001, worlds, nominal)) / worlds


def gains(means: list[float], seeds: int, worlds: int = WORLDS) -> Array:
    """(worlds, attacks, seeds, targets)."""
    rng = np.random.default_rng(seeds)
    victim = rng.normal(0, SEED_SD * 0.8, (worlds, 1, seeds, 1))
    attack = rng.normal(0, SEED_SD * 0.6, (worlds, len(means), seeds, 1))
    noise = rng.normal(0, TARGET_SD, (worlds, len(means), seeds, TARGETS))
    return np.asarray(means)[None, :, None, None] + victim + attack + noise


def by_attack(world: Array) -> dict[str, list[float]]:
    """Seed means of one world."""
    return {f"attack {i}": row.mean(-1).tolist() for i, row in enumerate(world)}


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


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "means", [[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, -1.0], [1.0, 0.9, 0.8, 0.7, 0.6]], ids=str
)
def test_worst_case_covers_the_largest_true_gain(means: list[float], seeds: int) -> None:
    found = [worst_case(by_attack(w)) for w in gains(means, seeds)]
    assert np.mean([covers(f.interval, max(means)) for f in found]) >= at_least(0.95)


def test_useless_attacks_look_like_a_leak_in_the_largest_mean_but_not_in_the_interval() -> None:
    found = [worst_case(by_attack(w)) for w in gains([0.0] * 4, 5)]
    naive = np.array([f.interval.value for f in found])
    assert naive.mean() > 10 * naive.std() / len(naive) ** 0.5  # biased, beyond any doubt
    claimed = np.mean([f.interval.low > 0 for f in found])
    assert claimed <= 1 - at_least(1 - 0.025)


def test_the_winners_own_interval_would_claim_too_many_leaks() -> None:
    """Why the lower end is corrected for the number of attacks."""
    claimed = []
    for world in gains([0.0] * 8, 5, worlds=1000):
        attacks = by_attack(world)
        winner = worst_case(attacks).attack
        claimed.append(t_interval(attacks[winner]).low > 0)
    assert np.mean(claimed) > 2 * 0.025


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


def test_worst_case_by_hand() -> None:
    attacks = {"good": [3.0, 4.0, 5.0], "noisy": [-4.0, 1.0, 9.0]}
    found = worst_case(attacks)
    assert found.attack == "good"
    assert found.interval.value == pytest.approx(4)
    assert found.interval.n == 3
    margin = 1 / math.sqrt(3)
    corrected = stats.t.isf(0.05 / 4, 2) * margin
    assert found.interval.low == pytest.approx(4 - corrected)
    assert found.interval.high == pytest.approx(t_interval(attacks["noisy"]).high)
    assert not found.incomplete
    assert found.missing == ()


def test_worst_case_of_one_attack_is_its_t_interval() -> None:
    found = worst_case({"only": [0.1, 0.3, 0.4]}, confidence=0.9)
    assert found.interval.value == t_interval([0.1, 0.3, 0.4], 0.9).value
    assert found.interval.low == pytest.approx(t_interval([0.1, 0.3, 0.4], 0.9).low)
    assert found.interval.high == pytest.approx(t_interval([0.1, 0.3, 0.4], 0.9).high)


@pytest.mark.parametrize("failed", [[9.0, math.nan, 9.0], [9.0, 9.0], [], [9.0, math.inf, 9.0]])
def test_a_failed_attack_marks_the_worst_case_incomplete(failed: list[float]) -> None:
    complete = {"a": [1.0, 2.0, 3.0], "b": [0.0, 0.0, 0.1]}
    found = worst_case(complete | {"failed": failed})
    assert found.incomplete
    assert found.missing == ("failed",)
    assert found.attack == "a"
    assert found.interval.value == pytest.approx(2.0)
    assert found.interval.low < worst_case(complete).interval.low  # it still counts as tried


def test_without_a_complete_attack_there_is_no_number() -> None:
    found = worst_case({"b": [math.nan, 1.0], "a": []})
    assert found.incomplete
    assert found.missing == ("a", "b")
    assert math.isnan(found.interval.value)
    assert found.attack == ""


def test_worst_case_over_one_victim_has_a_value_and_no_interval() -> None:
    found = worst_case({"a": [1.0], "b": [2.0]})
    assert (found.attack, found.interval.value, found.incomplete) == ("b", 2.0, False)
    assert math.isnan(found.interval.low)
    assert math.isnan(found.interval.high)


def test_envelope_is_the_largest_gain_per_target() -> None:
    nan = math.nan
    found = envelope({"a": torch.tensor([1.0, 5.0, nan]), "b": torch.tensor([2.0, 3.0, 9.0])})
    assert found[:2].tolist() == [2.0, 5.0]
    assert found[2].isnan()


def test_envelope_over_useless_attacks_leaks_as_much_as_over_useless_baselines() -> None:
    """Why the envelope is shown only beside the envelope over baselines."""

    def useless(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {str(i): torch.randn(1000, generator=generator) for i in range(4)}

    attacks, baselines = envelope(useless(0)).mean(), envelope(useless(1)).mean()
    assert attacks > 0.9  # the mean of the largest of four standard normals is 1.03
    assert abs(attacks - baselines) < 0.1


def test_what_cannot_be_an_interval_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one victim seed"):
        t_interval([])
    with pytest.raises(SpecError, match="between 0 and 1, got 95"):
        t_interval([1.0, 2.0], confidence=95.0)
    with pytest.raises(SpecError, match="got 2 and 1 seeds"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(SpecError, match="at least one target"):
        bootstrap_targets(torch.zeros(0), np.random.default_rng(0))
    with pytest.raises(SpecError, match="at least one attack"):
        worst_case({})
    for attacks in ({}, {"a": torch.zeros(2), "b": torch.zeros(3)}):
        with pytest.raises(SpecError, match="same targets"):
            envelope(attacks)
