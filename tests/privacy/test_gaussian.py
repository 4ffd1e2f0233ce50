"""The exact Gaussian curve against a 60-digit oracle, published anchors and opacus' accountants."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import mpmath  # type: ignore[import-untyped]
import pytest
from scipy.special import ndtr

from sltoolkit.errors import SpecError
from sltoolkit.privacy import Guarantee, compose, delta_of, epsilon_of, noise_for

pytestmark = pytest.mark.golden

DELTA = 1e-5


def _delta_oracle(epsilon: float, noise_ratio: float) -> float:
    with mpmath.workdps(60):
        e, r = mpmath.mpf(epsilon), mpmath.mpf(noise_ratio)
        first, second = mpmath.ncdf(0.5 / r - e * r), mpmath.ncdf(-0.5 / r - e * r)
        return float(first - mpmath.exp(e) * second)


@pytest.mark.parametrize(
    ("epsilon", "noise_ratio"),
    [(0.1, 30.0), (1, 3.7), (8, 0.6), (50, 0.1), (1000, 0.02), (0, 5.0), (5, 5.0), (1e-6, 1e3)],
)
def test_delta_equals_a_sixty_digit_oracle(epsilon: float, noise_ratio: float) -> None:
    want = _delta_oracle(epsilon, noise_ratio)
    assert delta_of(epsilon, noise_ratio) == pytest.approx(want, rel=1e-9, abs=0)


def test_delta_neither_overflows_nor_leaves_the_unit_interval() -> None:
    for epsilon in (0.0, 1.0, 800.0, 1e5):
        for noise_ratio in (1e-4, 0.01, 1.0, 100.0, 1e6):
            assert 0 <= delta_of(epsilon, noise_ratio) <= 1


def test_at_epsilon_zero_delta_is_the_total_variation_distance() -> None:
    # P(N(1, r) > 1/2) - P(N(0, r) > 1/2)
    assert delta_of(0, 0.7) == pytest.approx(ndtr(0.5 / 0.7) - ndtr(-0.5 / 0.7), rel=1e-12)


@pytest.mark.parametrize(
    ("epsilon", "printed"),
    [(0.1, "30.750"), (0.5, "7.0318"), (1, "3.7306"), (2, "1.9938"), (8, "0.6002")],
)
def test_noise_ratio_equals_the_published_anchors(epsilon: float, printed: str) -> None:
    assert noise_for(epsilon, DELTA) == _as_printed(printed)


@pytest.mark.parametrize(
    ("noise_ratio", "printed"), [(0.5, "9.997"), (1, "4.377"), (2, "1.993"), (5, "0.7255")]
)
def test_epsilon_equals_the_published_anchors(noise_ratio: float, printed: str) -> None:
    assert epsilon_of(DELTA, noise_ratio) == _as_printed(printed)


def _as_printed(number: str) -> Any:
    """Equal up to half a unit of the last digit that was printed."""
    return pytest.approx(float(number), abs=0.5 * 10 ** -len(number.split(".")[1]))


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
@pytest.mark.parametrize("epsilon", [1e-3, 0.5, 3.0, 40.0])
def test_calibration_is_tight_and_errs_on_the_private_side(epsilon: float, delta: float) -> None:
    ratio = noise_for(epsilon, delta)
    assert delta_of(epsilon, ratio) <= delta
    assert delta_of(epsilon, ratio * (1 - 1e-9)) > delta
    back = epsilon_of(delta, ratio)
    assert delta_of(back, ratio) <= delta
    assert back == pytest.approx(epsilon, rel=1e-6)


def test_enough_noise_needs_no_epsilon() -> None:
    assert epsilon_of(DELTA, 1e6) == 0


def test_hundred_releases_at_ratio_ten_are_one_at_ratio_one() -> None:
    assert compose(10, 100) == pytest.approx(1, rel=1e-15)
    assert epsilon_of(DELTA, compose(10, 100)) == pytest.approx(epsilon_of(DELTA, 1), rel=1e-12)
    assert epsilon_of(DELTA, compose(10, 100)) == pytest.approx(4.377, abs=1e-3)


def test_the_textbook_formula_adds_too_little_noise_from_epsilon_8_42_on() -> None:
    def textbook(epsilon: float) -> float:
        return math.sqrt(2 * math.log(1.25 / DELTA)) / epsilon

    assert textbook(8.41) > noise_for(8.41, DELTA)
    assert textbook(8.43) < noise_for(8.43, DELTA)
    assert (textbook(10), noise_for(10, DELTA)) == pytest.approx((0.4845, 0.4999), abs=1e-4)
    assert delta_of(10, textbook(10)) > 1.2 * DELTA


@pytest.mark.parametrize(
    ("noise_ratio", "releases"), [(0.3, 1), (1.0, 1), (2.0, 5), (10.0, 100), (100.0, 100)]
)
def test_exact_is_at_most_prv_is_at_most_rdp(noise_ratio: float, releases: int) -> None:
    exact = epsilon_of(DELTA, compose(noise_ratio, releases))
    prv, rdp = _opacus(noise_ratio, releases)
    assert exact <= prv <= rdp
    # a mistake in the composition would show here: PRV's error bound is 0.01
    assert prv - exact < 0.02


def _opacus(noise_ratio: float, releases: int) -> tuple[float, float]:
    """Epsilon by opacus' PRV and RDP accountants, without subsampling."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    prv, rdp = PRVAccountant(), RDPAccountant()
    for accountant in (prv, rdp):
        for _ in range(releases):
            accountant.step(noise_multiplier=noise_ratio, sample_rate=1.0)
    with warnings.catch_warnings():
        # without subsampling PRV takes log(0), and RDP's largest order may be the best one
        warnings.filterwarnings("ignore", message="divide by zero encountered in log")
        warnings.filterwarnings("ignore", message="Optimal order is the largest alpha")
        return prv.get_epsilon(DELTA), rdp.get_epsilon(DELTA)


def test_opacus_gaussian_accountant_is_not_the_exact_curve() -> None:
    from opacus.accountants import GaussianAccountant

    with pytest.warns(UserWarning, match="can underestimate privacy expenditure"):
        accountant = GaussianAccountant()
    accountant.step(noise_multiplier=1.0, sample_rate=1.0)
    # why the toolkit doesn't use it: it isn't close to the exact 4.377
    assert accountant.get_epsilon(DELTA) > 1.3 * epsilon_of(DELTA, 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_parameters_are_refused(bad: float) -> None:
    calls: list[tuple[Callable[[float, float], float], float, float]] = [
        (delta_of, 1.0, bad),
        (epsilon_of, DELTA, bad),
        (epsilon_of, bad, 1.0),
        (noise_for, bad, DELTA),
        (noise_for, 1.0, bad),
    ]
    for function, first, second in calls:
        with pytest.raises(SpecError, match="must be"):
            function(first, second)
    with pytest.raises(SpecError, match="noise_ratio"):
        compose(bad, 1)


def test_zero_releases_and_a_negative_epsilon_are_refused() -> None:
    with pytest.raises(SpecError, match="releases"):
        compose(1.0, 0)
    with pytest.raises(SpecError, match="epsilon"):
        delta_of(-1.0, 1.0)


def test_a_guarantee_says_everything_in_one_sentence() -> None:
    said = str(
        Guarantee(
            mechanism="M", released="R", unit="U", neighbors="N", epsilon=1.5, delta=1e-5,
            releases=3, accountant="A", limits="L",
        )
    )  # fmt: skip
    assert said == (
        "(1.5, 1e-05)-DP for U under N, over 3 releases of R by M (A); not protected: L"
    )


@pytest.mark.parametrize("epsilon", [9e5, 1.1e6, 1e9, 1e16, 1e50, 1e150, 1e200, 1e280])
@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
def test_the_noise_of_a_huge_epsilon_is_found(epsilon: float, delta: float) -> None:
    ratio = noise_for(epsilon, delta)

    assert ratio == pytest.approx(math.sqrt(0.5 / epsilon), rel=0.01)
    assert delta_of(epsilon, ratio) <= delta
    assert epsilon_of(delta, ratio) == pytest.approx(epsilon, rel=1e-6)


@pytest.mark.parametrize("noise_ratio", [6.9e-4, 7.1e-4, 7.3e-4])
def test_delta_is_computed_alike_on_both_sides_of_a_million(noise_ratio: float) -> None:
    below, above = (delta_of(epsilon, noise_ratio) for epsilon in (1e6, 1e6 * (1 + 1e-15)))

    assert above == pytest.approx(below, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("epsilon", [1e281, math.inf, math.nan])
def test_an_epsilon_without_noise_is_refused(epsilon: float) -> None:
    with pytest.raises(SpecError, match="positive and at most 1e280"):
        noise_for(epsilon, 1e-5)
