"""How parts are drawn: whole groups, the pool's class shares, and the sizes that were asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltoolkit.data.draw import drawn, rounded

SIZES = (60, 20, 40)


def _draw(
    y: np.ndarray, groups: np.ndarray, seed: int = 0, *, sizes: Sequence[int] = SIZES, **more: Any
) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(y))
    classes = int(y.max()) + 1
    return drawn(y, groups, order, sizes, classes=classes, **more)


@given(
    weights=st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any),
    total=st.integers(0, 1000),
)
def test_integers_in_proportion_have_the_total(weights: list[int], total: int) -> None:
    found = rounded(np.array(weights), total)
    assert found.sum() == total
    exact = np.array(weights) * total / sum(weights)
    assert (abs(found - exact) < 1 + 1e-9).all()


@settings(deadline=None, max_examples=40)
@given(shares=st.lists(st.integers(1, 50), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_lone_samples_keep_class_shares_to_one_sample(shares: list[int], seed: int) -> None:
    y = np.random.default_rng(seed).choice(len(shares), 200, p=np.array(shares) / sum(shares))
    counts = np.bincount(y, minlength=len(shares))
    for part, size in zip(_draw(y, np.arange(200), seed), SIZES, strict=True):
        assert len(part) == len(set(part)) == size
        found = np.bincount(y[part], minlength=len(shares))[: int(y.max()) + 1]
        assert (abs(found - counts[: len(found)] * size / 200) < 2).all()


@settings(deadline=None, max_examples=40)
@given(most=st.integers(1, 12), seed=st.integers(0, 999))
def test_groups_stay_in_one_part_and_sizes_are_met(most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(200), rng.integers(1, most + 1, 200))[:200]
    y = (groups + rng.integers(0, 2, 200)) % 3
    parts = _draw(y, groups, seed)
    assert [len(p) for p in parts] == list(SIZES)
    held = [set(groups[p]) for p in parts]
    assert not held[0] & held[1]
    assert not (held[0] | held[1]) & held[2]


def test_twins_fill_parts_without_a_loss() -> None:
    y, groups = np.arange(120) // 2 % 3, np.arange(120) // 2
    parts = _draw(y, groups)
    assert sorted(np.concatenate(parts)) == list(range(120))
    assert all(len(set(groups[p])) == len(p) / 2 for p in parts)


def test_large_groups_are_drawn_no_more_often_than_small_ones() -> None:
    groups = np.r_[np.repeat(np.arange(400), 5), 400 + np.arange(8000)]
    for part in _draw(groups % 2, groups, sizes=(600, 200, 400)):
        assert (part < 2000).mean() == pytest.approx(0.2, abs=0.03)


def test_a_class_in_few_groups_gets_its_share_where_it_can() -> None:
    """Class 1 lives in ten groups of six; each part gets some of them."""
    groups = np.r_[np.repeat(np.arange(10), 6), 10 + np.arange(240)]
    y = (groups < 10).astype(int)
    for seed in range(10):
        for part in _draw(y, groups, seed):
            assert y[part].mean() == pytest.approx(0.2, abs=0.11)


def test_a_part_takes_some_samples_of_a_group_if_nothing_else_is_left() -> None:
    groups = np.arange(210) // 7
    parts = _draw(groups % 2, groups)
    assert [len(p) for p in parts] == list(SIZES)
    assert all(len(set(groups[p])) <= len(p) / 7 + 2 for p in parts)


def test_homes_are_kept_and_a_group_with_two_homes_has_one() -> None:
    homes = np.random.default_rng(0).integers(0, 3, 400)
    groups = np.arange(400) // 2
    parts = _draw(np.arange(400) % 2, groups, homes=homes)
    assert [len(p) for p in parts] == list(SIZES)
    assert all((homes[p] == k).all() for k, p in enumerate(parts))
    held = [set(groups[p]) for p in parts]
    assert not (held[0] & held[1] | held[0] & held[2] | held[1] & held[2])


def test_what_is_not_there_is_not_drawn() -> None:
    sizes = [len(p) for p in _draw(np.arange(90) % 3, np.arange(90))]
    assert sizes == [60, 20, 10]
