"""The drop of the worst case: by hand, against paired differences, and its coverage."""

import math
from collections.abc import Hashable

import numpy as np
import pytest
from scipy import stats

from sltoolkit.errors import SpecError
from sltoolkit.metrics import paired_difference, worst_case_drop

pytestmark = pytest.mark.golden

WORLDS = 2000
Side = dict[str, dict[Hashable, float]]


def side(**attacks: tuple[float, ...]) -> Side:
    return {name: dict(enumerate(gains)) for name, gains in attacks.items()}


def test_with_one_attack_each_it_is_the_paired_difference() -> None:
    plain, defended = (0.8, 0.7, 0.9), (0.3, 0.1, 0.6)
    assert worst_case_drop(side(a=plain), side(b=defended)) == paired_difference(plain, defended)


def test_a_second_attack_costs_the_end_that_it_could_feign() -> None:
    plain, defended = (0.8, 0.7, 0.9), (0.3, 0.1, 0.6)
    weak = (0.0, 0.01, 0.02)
    alone = worst_case_drop(side(a=plain), side(b=defended))

    more_plain = worst_case_drop(side(a=plain, w=weak), side(b=defended))
    assert more_plain.low == pytest.approx(paired_difference(plain, defended, 0.975).low)
    assert (more_plain.value, more_plain.high) == pytest.approx((alone.value, alone.high))

    more_defended = worst_case_drop(side(a=plain), side(b=defended, w=weak))
    assert more_defended.high == pytest.approx(paired_difference(plain, defended, 0.975).high)
    assert (more_defended.value, more_defended.low) == pytest.approx((alone.value, alone.low))


def test_the_drop_is_to_the_strongest_attack_that_is_left() -> None:
    plain = side(white=(0.8, 0.9), black=(0.5, 0.5))
    left = side(white=(0.0, 0.1), black=(0.4, 0.4))
    assert worst_case_drop(plain, left).value == pytest.approx(0.85 - 0.4)


def test_an_attack_that_lacks_a_seed_is_not_judged_by_the_others() -> None:
    whole = side(a=(0.5, 0.6, 0.7))
    for broken in ((0.9, math.nan, 0.9), (0.9, 0.9)):
        found = worst_case_drop(side(a=(0.5, 0.6, 0.7), b=broken), whole)
        assert found.value == pytest.approx(0)
        assert math.isnan(worst_case_drop(side(a=broken), whole).value) == math.isnan(sum(broken))


def test_only_shared_seeds_are_paired() -> None:
    plain: Side = {"a": {0: 0.9, 1: 0.8, 2: 0.1}}
    defended: Side = {"a": {1: 0.4, 0: 0.3, 7: 0.9}}
    found = worst_case_drop(plain, defended)
    assert found.value == pytest.approx(0.5)
    assert found.n == 2
    assert math.isnan(worst_case_drop(plain, {"a": {9: 0.1}}).value)
    assert math.isnan(worst_case_drop(plain, {}).value)


def test_a_single_pair_has_no_interval() -> None:
    found = worst_case_drop(side(a=(0.9,)), side(a=(0.4,)))
    assert found.value == pytest.approx(0.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_a_confidence_is_a_probability() -> None:
    with pytest.raises(SpecError, match="strictly between 0 and 1"):
        worst_case_drop(side(a=(0.9, 0.8)), side(a=(0.4, 0.3)), confidence=1.0)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("plain", "defended"),
    [([0.7], [0.4]), ([0.7, 0.7, 0.7], [0.7, 0.7, 0.7]), ([0.7, 0.2], [0.1, 0.3, 0.3])],
)
def test_both_ends_cover_at_least_as_often_as_they_say(
    plain: list[float], defended: list[float], seeds: int
) -> None:
    rng = np.random.default_rng(seeds)
    truth, shape = max(plain) - max(defended), (WORLDS, 1, seeds)
    victim = rng.normal(0, 0.2, shape)  # shared by pairs

    def drawn(means: list[float]) -> list[Side]:
        gains = np.asarray(means)[None, :, None] + victim
        gains = gains + rng.normal(0, 0.1, (WORLDS, len(means), seeds))
        return [{str(i): dict(enumerate(a)) for i, a in enumerate(world)} for world in gains]

    worlds = zip(drawn(plain), drawn(defended), strict=True)
    found = [worst_case_drop(a, b) for a, b in worlds]
    least = float(stats.binom.ppf(0.001, WORLDS, 0.975)) / WORLDS
    assert np.mean([x.low <= truth for x in found]) >= least
    assert np.mean([truth <= x.high for x in found]) >= least
