"""Lower bounds of epsilon: known anchors, right at their confidence, tight where they can be."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from sltoolkit.errors import SpecError
from sltoolkit.privacy import noise_for
from sltoolkit.privacy.audit import (
    Scores,
    epsilon_by_counts,
    epsilon_of_gaussian,
    epsilon_of_rates,
    mu_of_gaussian,
    shared_noise,
)

DELTA = 1e-5


def worlds(epsilon: float, n: int, g: np.random.Generator) -> tuple[Scores, Scores]:
    """Scores of a Gaussian mechanism with exactly this epsilon."""
    noise = noise_for(epsilon, DELTA) * g.standard_normal((2, n))
    return noise[0], 1 + noise[1]


@pytest.mark.golden
def test_the_bound_from_rates_is_the_one_worked_out_by_hand() -> None:
    found = epsilon_of_rates(900, 100, n=1000, delta=DELTA, confidence=0.95)
    assert found == pytest.approx(1.98969, abs=5e-6)
    perfect = epsilon_of_rates(1000, 0, n=1000, delta=DELTA, confidence=0.95)
    assert perfect == pytest.approx(5.60, abs=5e-3)


def test_without_errors_the_bound_has_a_closed_form() -> None:
    for n in (20, 100, 5000):
        least = 0.0005 ** (1 / n)  # of a rate of which n trials all hit, at 99.9 %
        found = epsilon_of_rates(n, 0, n=n, delta=DELTA)
        assert found == pytest.approx(math.log((least - DELTA) / (1 - least)), rel=1e-6)


def test_the_bound_is_the_same_with_the_worlds_exchanged() -> None:
    one = epsilon_of_rates(300, 10, n=1000, delta=DELTA)
    assert one == epsilon_of_rates(990, 700, n=1000, delta=DELTA) > 0


@pytest.mark.parametrize("bound", [epsilon_by_counts, epsilon_of_gaussian])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_the_bounds_hold_at_their_confidence(bound: Callable[..., float], epsilon: float) -> None:
    g = np.random.default_rng(3)
    runs = [bound(*worlds(epsilon, 400, g), delta=DELTA, confidence=0.8) for _ in range(200)]
    wrong = sum(found > epsilon for found in runs)
    assert wrong <= 60  # 40 expected at most; 60 are 3.5 standard deviations above


def test_mu_is_below_the_truth_as_often_as_it_says_and_close_to_it() -> None:
    g = np.random.default_rng(5)
    mus = []
    for _ in range(500):
        first, second = g.standard_normal((2, 50))
        mus.append(mu_of_gaussian(first, second + 1.5, confidence=0.9))
    assert sum(mu > 1.5 for mu in mus) <= 70  # 50 expected at most
    assert np.mean(mus) > 0.9


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0, 8.0])
def test_the_gaussian_bound_reaches_most_of_a_true_epsilon(epsilon: float) -> None:
    first, second = worlds(epsilon, 20_000, np.random.default_rng(1))
    assert 0.8 * epsilon < epsilon_of_gaussian(first, second, delta=DELTA) <= epsilon


def test_the_threshold_is_chosen_on_other_scores_than_those_it_is_judged_on() -> None:
    found = [
        epsilon_by_counts(g.random(40), g.random(40), delta=DELTA, confidence=0.8)
        for g in map(np.random.default_rng, range(300))
    ]
    assert sum(bound > 0 for bound in found) <= 80  # 60 expected at most, with equal worlds


def test_equal_scores_in_each_world_have_no_gaussian_epsilon() -> None:
    first, second = np.zeros(8), np.ones(8)
    assert mu_of_gaussian(first, second) == math.inf
    assert epsilon_of_gaussian(first, second, delta=DELTA) == math.inf
    assert epsilon_of_gaussian(first, first, delta=DELTA) == 0


def test_fresh_noise_looks_fresh_and_shared_noise_shared() -> None:
    g = np.random.default_rng(2)
    fresh = g.standard_normal((20, 30))
    found = [shared_noise(g.standard_normal((20, 30))) for _ in range(400)]
    assert np.mean(found, axis=0) == pytest.approx([0.5, 0.5], abs=0.06)  # uniform
    by_batch, by_row = g.standard_normal((20, 1)), g.standard_normal((1, 30))
    within, along = shared_noise(0.1 * fresh + by_batch)
    assert within < 1e-20
    assert along > 1e-4
    within, along = shared_noise(0.1 * fresh + by_row)
    assert within > 1e-4
    assert along < 1e-20
    assert shared_noise(np.zeros((20, 30)) + by_row)[1] == 0.0
    assert shared_noise(np.zeros((20, 30)) + by_batch)[0] == 0.0
    assert shared_noise(np.zeros((20, 30))) == (1.0, 1.0)


def test_too_few_scores_and_scores_that_are_no_numbers_are_refused() -> None:
    good = np.arange(8.0)
    for bad in (good[:3], np.array([0.0, 1.0, 2.0, math.nan])):
        with pytest.raises(SpecError, match="at least four finite scores in either world, got 3"):
            epsilon_by_counts(good, bad, delta=DELTA)
    with pytest.raises(SpecError, match="confidence of an audit must lie strictly between 0 and 1"):
        mu_of_gaussian(good, good, confidence=1.0)
    with pytest.raises(SpecError, match="delta of an audit"):
        epsilon_of_gaussian(good, good, delta=0.0)
