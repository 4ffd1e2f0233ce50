"""The worst case over attacks: by hand, its coverage by simulation, and why it has no point."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from support.simulated import Array, at_least, by_attack, covers, gains
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import (
    Interval,
    WorstCase,
    bootstrap_targets,
    envelope,
    t_interval,
    worst_case,
    worst_case_of_network,
    worst_difference,
)

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "means", [[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, -1.0], [1.0, 0.9, 0.8, 0.7, 0.6]], ids=str
)
def test_worst_case_covers_the_largest_true_gain(means: list[float], seeds: int) -> None:
    found = [worst_case(by_attack(w)) for w in gains(means, seeds)]
    assert np.mean([covers(f.low, f.high, max(means)) for f in found]) >= at_least(0.95)


def test_useless_attacks_are_not_said_to_leak() -> None:
    found = [worst_case(by_attack(w)) for w in gains([0.0] * 4, 5)]
    assert np.mean([f.low > 0 for f in found]) <= 1 - at_least(1 - 0.025)


def largest_mean(worlds: Array) -> Array:
    """(worlds,) from (worlds, attacks, victims)."""
    return np.asarray(worlds.mean(2).max(1))


def chosen_on_the_others(worlds: Array) -> Array:
    """Each victim's gain of the attack with the largest mean on the other victims, averaged."""
    rows = np.arange(len(worlds))
    found = [
        worlds[rows, np.delete(worlds, s, 2).mean(2).argmax(1), s] for s in range(worlds.shape[2])
    ]
    return np.asarray(np.mean(found, 0))


def jackknifed(worlds: Array) -> Array:
    n = worlds.shape[2]
    without = [largest_mean(np.delete(worlds, s, 2)) for s in range(n)]
    return np.asarray(n * largest_mean(worlds) - (n - 1) * np.mean(without, 0))


@pytest.mark.parametrize(
    ("estimate", "means"),
    [
        (largest_mean, [0.0] * 8),
        (jackknifed, [0.0] * 8),
        (chosen_on_the_others, [0.0] + [-0.03] * 7),
    ],
)
@pytest.mark.parametrize("victims", [3, 5])
def test_no_point_is_within_a_hundredth_for_equal_and_for_spread_attacks(
    estimate: Any, means: list[float], victims: int
) -> None:
    """Why a worst case has none: the standard deviation between victims is 0.05 here."""
    rng = np.random.default_rng(victims)
    worlds = np.asarray(means)[None, :, None] + rng.normal(0, 0.05, (4000, 8, victims))
    found = estimate(worlds)
    assert abs(found.mean() - max(means)) - 4 * found.std() / 4000**0.5 > 0.01
    assert not {"value", "mean", "point"} & {f.name for f in fields(WorstCase)}


def test_the_winners_own_interval_would_claim_too_many_leaks() -> None:
    """Why the lower end is corrected for the number of attacks."""
    claimed = []
    for world in gains([0.0] * 8, 5, worlds=1000):
        attacks = by_attack(world)
        winner = worst_case(attacks).attack
        claimed.append(t_interval(attacks[winner]).low > 0)
    assert np.mean(claimed) > 2 * 0.025


def test_worst_case_by_hand() -> None:
    attacks = {"good": [3.0, 4.0, 5.0], "noisy": [-4.0, 1.0, 9.0]}
    found = worst_case(attacks)
    assert found.attack == "good"
    assert (found.n, found.over) == (3, "victims")
    margin = 1 / math.sqrt(3)
    corrected = stats.t.isf(0.05 / 4, 2) * margin
    assert found.low == pytest.approx(4 - corrected)
    assert found.high == pytest.approx(t_interval(attacks["noisy"]).high)
    assert not found.incomplete
    assert found.missing == ()


def test_worst_case_of_one_attack_is_its_t_interval() -> None:
    found = worst_case({"only": [0.1, 0.3, 0.4]}, confidence=0.9)
    assert found.low == pytest.approx(t_interval([0.1, 0.3, 0.4], 0.9).low)
    assert found.high == pytest.approx(t_interval([0.1, 0.3, 0.4], 0.9).high)


@pytest.mark.parametrize("failed", [[9.0, math.nan, 9.0], [9.0, 9.0], [], [9.0, math.inf, 9.0]])
def test_a_failed_attack_marks_the_worst_case_incomplete(failed: list[float]) -> None:
    complete = {"a": [1.0, 2.0, 3.0], "b": [0.0, 0.0, 0.1]}
    found = worst_case(complete | {"failed": failed})
    assert found.incomplete
    assert found.missing == ("failed",)
    assert found.attack == "a"
    assert math.isnan(found.high)  # the missing one may leak any amount
    assert found.low < worst_case(complete).low  # it still counts as tried


def test_without_a_complete_attack_there_is_no_number() -> None:
    found = worst_case({"b": [math.nan, 1.0], "a": []})
    assert found.incomplete
    assert found.missing == ("a", "b")
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.attack == ""


def test_worst_case_over_one_victim_has_no_ends() -> None:
    found = worst_case({"a": [1.0], "b": [2.0]})
    assert (found.attack, found.incomplete) == ("b", False)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_ends_stay_in_the_range() -> None:
    attacks = {"a": [0.9, 1.0, 0.8], "b": [-0.9, 0.9, 0.0]}
    assert worst_case(attacks).high > 1
    found = worst_case(attacks, within=(-1.0, 1.0))
    assert (found.low, found.high) == (worst_case(attacks).low, 1.0)


@pytest.mark.parametrize("means", [[0.0] * 4, [0.5, 0.4, 0.0, -1.0]], ids=str)
def test_the_worst_case_of_one_network_covers_over_targets(means: list[float]) -> None:
    rng, hits = np.random.default_rng(0), []
    for _ in range(120):
        shared = rng.normal(0, 1, 48)
        own = {
            str(i): bootstrap_targets(
                torch.from_numpy(mean + shared + rng.normal(0, 1, 48)), rng, resamples=150
            )
            for i, mean in enumerate(means)
        }
        found = worst_case_of_network(own)
        assert (found.over, found.n) == ("targets", 48)
        hits.append(covers(found.low, found.high, max(means)))
    assert np.mean(hits) >= at_least(0.94, len(hits))


def test_the_worst_case_of_one_network_by_hand() -> None:
    def over_targets(value: float, low: float, high: float) -> Interval:
        return Interval(value=value, low=low, high=high, n=9, over="targets")

    own = {"good": over_targets(3.0, 2.0, 4.0), "noisy": over_targets(1.0, -4.0, 5.0)}
    found = worst_case_of_network(own)
    wider = stats.norm.isf(0.0125) / stats.norm.isf(0.025)
    assert (found.attack, found.high) == ("good", 5.0)
    assert found.low == pytest.approx(3 - wider)
    failed = worst_case_of_network(own | {"failed": over_targets(math.nan, math.nan, math.nan)})
    assert (failed.missing, failed.attack) == (("failed",), "good")
    assert math.isnan(failed.high)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("first", "second"),
    [([0.0] * 3, [0.0] * 3), ([1.0, 0.9, -2.0], [2.0, 2.0, -2.0]), ([0.0, 3.0], [3.0, 0.0])],
    ids=str,
)
def test_the_difference_of_worst_cases_is_covered(
    first: list[float], second: list[float], seeds: int
) -> None:
    both = gains(first + second, seeds, worlds=600)
    truth, hits = max(first) - max(second), []
    for world in both:
        a, b = (by_attack(part) for part in (world[: len(first)], world[len(first) :]))
        hits.append(covers(*worst_difference(a, b), truth))
    assert np.mean(hits) >= at_least(0.95, len(hits))


def test_pairs_make_the_difference_of_worst_cases_narrow() -> None:
    plain = {"a": [0.5, 0.7, 0.9], "b": [0.1, 0.3, 0.5]}
    defended = {"a": [0.3, 0.51, 0.7], "b": [0.1, 0.3, 0.5]}
    low, high = worst_difference(defended, plain)
    assert -0.25 < low < high < -0.15
    assert worst_case(defended).high - worst_case(plain).low > 0  # unpaired, nothing is shown
    assert worst_difference(plain, defended) == pytest.approx((-high, -low))


def test_the_difference_for_one_attack_is_the_paired_interval() -> None:
    a, b = [0.5, 0.7, 0.9], [0.4, 0.4, 0.5]
    found = t_interval([0.1, 0.3, 0.4])
    assert worst_difference({"x": a}, {"x": b}) == pytest.approx((found.low, found.high))


def test_an_attack_that_is_missing_leaves_one_end_of_the_difference() -> None:
    whole, lacking = {"a": [1.0, 2.0, 3.0]}, {"a": [1.0, 2.0, 2.0], "b": [1.0, math.nan, 1.0]}
    low, high = worst_difference(lacking, whole)
    assert math.isfinite(low)
    assert math.isnan(high)  # the missing attack may gain any amount
    low, high = worst_difference(whole, lacking)
    assert math.isnan(low)
    assert math.isfinite(high)
    assert all(map(math.isnan, worst_difference({"a": []}, {"a": []})))


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


def test_what_has_no_worst_case_is_refused() -> None:
    for call in (worst_case, worst_case_of_network, lambda x: worst_difference(x, {"a": [1.0]})):
        with pytest.raises(SpecError, match="at least one attack"):
            call({})
    attacks: dict[str, Tensor]
    for attacks in ({}, {"a": torch.zeros(2), "b": torch.zeros(3)}):
        with pytest.raises(SpecError, match="same targets"):
            envelope(attacks)
