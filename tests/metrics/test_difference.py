"""The difference of two worst cases: by hand, against paired differences, and its coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from sltoolkit.errors import SpecError
from sltoolkit.metrics import paired_difference, worst_difference

pytestmark = pytest.mark.golden

WORLDS = 1000
PLAIN, DEFENDED, WEAK = [0.8, 0.7, 0.9], [0.3, 0.1, 0.6], [0.0, 0.01, 0.02]


def ends(confidence: float = 0.95) -> tuple[float, float]:
    one = paired_difference(PLAIN, DEFENDED, confidence)
    return one.low, one.high


def test_with_one_attack_each_it_is_the_paired_difference() -> None:
    assert worst_difference({"a": PLAIN}, {"b": DEFENDED}) == ends()


def test_a_second_attack_costs_the_end_that_it_could_feign() -> None:
    low, high = worst_difference({"a": PLAIN, "w": WEAK}, {"b": DEFENDED})
    assert (low, high) == pytest.approx((ends(0.975)[0], ends()[1]))
    low, high = worst_difference({"a": PLAIN}, {"b": DEFENDED, "w": WEAK})
    assert (low, high) == pytest.approx((ends()[0], ends(0.975)[1]))


def test_the_difference_is_to_the_strongest_attack_that_is_left() -> None:
    before = {"white": [0.8, 0.9, 0.8], "black": [0.5, 0.5, 0.4]}
    after = {"white": [0.0, 0.1, 0.0], "black": [0.4, 0.4, 0.5]}
    low, high = worst_difference(before, after)
    assert low < (0.8 + 0.9 + 0.8) / 3 - (0.4 + 0.4 + 0.5) / 3 < high < 0.8


@pytest.mark.parametrize("broken", [[0.9, math.nan, 0.9], [0.9, 0.9]])
def test_an_attack_that_is_missing_may_be_any_strength(broken: list[float]) -> None:
    low, high = worst_difference({"a": PLAIN, "x": broken}, {"b": DEFENDED})
    assert low == pytest.approx(ends(0.975)[0])
    assert math.isnan(high)
    low, high = worst_difference({"a": PLAIN}, {"b": DEFENDED, "x": broken})
    assert math.isnan(low)
    assert high == pytest.approx(ends(0.975)[1])
    assert all(map(math.isnan, worst_difference({"x": [math.nan] * 3}, {"b": DEFENDED})))


def test_a_single_pair_has_no_interval() -> None:
    assert all(map(math.isnan, worst_difference({"a": [0.9]}, {"a": [0.4]})))
    assert all(map(math.isnan, worst_difference({"a": []}, {"a": []})))


def test_what_is_not_there_cannot_be_compared() -> None:
    with pytest.raises(SpecError, match="at least one attack"):
        worst_difference({"a": PLAIN}, {})
    with pytest.raises(SpecError, match="strictly between 0 and 1"):
        worst_difference({"a": PLAIN}, {"b": DEFENDED}, confidence=1.0)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("plain", "defended"),
    [([0.7], [0.4]), ([0.7, 0.7, 0.7], [0.7, 0.7, 0.7]), ([0.7, 0.2], [0.1, 0.3, 0.3])],
)
def test_both_ends_cover_at_least_as_often_as_they_say(
    plain: list[float], defended: list[float], seeds: int
) -> None:
    rng = np.random.default_rng(seeds)
    truth = max(plain) - max(defended)
    victim = rng.normal(0, 0.2, (WORLDS, 1, seeds))  # shared by pairs

    def drawn(means: list[float]) -> list[dict[str, list[float]]]:
        gains = np.asarray(means)[None, :, None] + victim
        gains = gains + rng.normal(0, 0.1, (WORLDS, len(means), seeds))
        return [{str(i): a.tolist() for i, a in enumerate(world)} for world in gains]

    worlds = zip(drawn(plain), drawn(defended), strict=True)
    found = np.array([worst_difference(a, b) for a, b in worlds])
    least = float(stats.binom.ppf(0.001, WORLDS, 0.975)) / WORLDS
    assert np.mean(found[:, 0] <= truth) >= least
    assert np.mean(truth <= found[:, 1]) >= least
