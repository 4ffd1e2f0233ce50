"""Pareto front and hypervolume against hand-computed areas and a grid."""

import itertools
import math

import numpy as np
import pytest

from sltoolkit.errors import SpecError
from sltoolkit.metrics import hypervolume, pareto_front

pytestmark = pytest.mark.golden

ANCHOR = [(1.0, 0.2), (0.5, 0.6)]
ORIGIN = (0.0, 0.0)


def random_points(n: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng(n)
    return [(float(u), float(p)) for u, p in rng.uniform(size=(n, 2))]


def test_hypervolume_anchor() -> None:
    assert hypervolume(ANCHOR, ORIGIN) == pytest.approx(0.40)


def test_hypervolume_is_the_share_of_a_grid_below_some_point() -> None:
    points, reference = random_points(12), (0.1, 0.2)
    ticks = (np.arange(1000) + 0.5) / 1000
    u, p = np.meshgrid(ticks, ticks)
    below = np.zeros_like(u, dtype=bool)
    for point in points:
        below |= (u <= point[0]) & (p <= point[1])
    below &= (u > reference[0]) & (p > reference[1])
    assert hypervolume(points, reference) == pytest.approx(below.mean(), abs=2e-3)


def test_hypervolume_ignores_dominated_points_and_those_below_the_reference() -> None:
    for extra in ((0.4, 0.6), (0.5, 0.1), (1.0, 0.2), (2.0, -1.0), (-1.0, 2.0)):
        assert hypervolume([*ANCHOR, extra], ORIGIN) == pytest.approx(0.40)
    assert hypervolume([*ANCHOR, (0.6, 0.6)], ORIGIN) == pytest.approx(0.44)
    assert hypervolume([], ORIGIN) == 0


def test_hypervolume_does_not_depend_on_the_order() -> None:
    points = [*random_points(4), (0.9, 0.9)]
    areas = [hypervolume(list(order), ORIGIN) for order in itertools.permutations(points)]
    assert areas == pytest.approx([areas[0]] * len(areas))


def test_front_is_what_nothing_dominates() -> None:
    assert pareto_front([*ANCHOR, (0.5, 0.5), (0.4, 0.6), (0.1, 0.1)]) == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_equal_points_stay_together() -> None:
    assert pareto_front([(1.0, 0.2), (1.0, 0.2), (0.9, 0.2)]) == [True, True, False]


def test_front_has_the_hypervolume_of_all() -> None:
    points = random_points(40)
    mask = pareto_front(points)
    front = [p for p, kept in zip(points, mask, strict=True) if kept]
    assert 0 < len(front) < len(points)
    assert hypervolume(front, ORIGIN) == pytest.approx(hypervolume(points, ORIGIN))
    for i in range(len(front)):
        assert hypervolume(front[:i] + front[i + 1 :], ORIGIN) < hypervolume(front, ORIGIN)


def test_a_failed_cell_has_no_place_in_a_comparison() -> None:
    with pytest.raises(SpecError, match="finite"):
        pareto_front([(0.5, math.nan)])
    with pytest.raises(SpecError, match="finite"):
        hypervolume([(math.inf, 0.1)], ORIGIN)
