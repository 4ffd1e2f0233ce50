"""Shifts of a part's population are refused, and what chance does is not."""

import numpy as np
import pytest
import torch

from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.data.population import check_population
from sltoolkit.errors import SpecError

RNG = np.random.default_rng


def _table(n: int = 3000, features: int = 5, rare: float = 0.1) -> Pool:
    rng = RNG(0)
    x = rng.normal(size=(n, features)).astype(np.float32)
    x[:, 0] = rng.random(n) < 0.01  # rare, and heavy tails beside it
    x[:, 1] = np.exp(3 * x[:, 1])
    return from_arrays(x, (rng.random(n) < rare).astype(int), name="people")


def _check(pool: Pool, index: np.ndarray, groups: np.ndarray | None = None) -> None:
    one = np.arange(len(pool)) if groups is None else groups
    check_population(pool, {"private_holdout": torch.tensor(index)}, torch.tensor(one))


@pytest.mark.parametrize("size", [5, 30, 300, 2000])
@pytest.mark.parametrize("features", [2, 60])
def test_random_parts_pass(size: int, features: int) -> None:
    pool = _table(features=features)
    for seed in range(15):
        _check(pool, RNG(seed).permutation(len(pool))[:size])


def test_random_groups_pass_however_much_they_differ() -> None:
    groups = np.arange(3000) // 150
    rng = RNG(0)
    x = rng.normal(size=20)[groups, None] + 0.1 * rng.normal(size=(3000, 1))
    y = (rng.random(20)[groups] < 0.3).astype(int)
    pool = from_arrays(x.astype(np.float32), y)
    for seed in range(25):
        chosen = RNG(seed).permutation(20)[:8]
        if len(np.unique(y[np.isin(groups, chosen)])) == 2:
            _check(pool, np.flatnonzero(np.isin(groups, chosen)), groups)


@pytest.mark.parametrize(("kept", "size"), [(0.0, 200), (0.3, 300), (0.6, 2000)])
def test_another_class_share_is_refused_with_the_shares(kept: float, size: int) -> None:
    pool = _table(rare=0.5)
    y, rng = pool.samples.y.numpy(), RNG(1)
    index = np.flatnonzero((y == 0) | (rng.random(len(y)) < kept))[:size]
    share = f"{y[index].mean():.1%} of private_holdout, {y.mean():.1%} of the pool"
    with pytest.raises(SpecError, match=f"class 1: {share}.*sl.data.parts"):
        _check(pool, index)


def test_a_class_is_not_missing_where_it_is_expected_however_few_the_groups() -> None:
    groups = np.arange(3000) // 500
    y = (groups == 5).astype(int)
    pool = from_arrays(RNG(0).random((3000, 2)).astype(np.float32), y)
    with pytest.raises(SpecError, match=r"class 1: 0\.0% of private_holdout, 16\.7% of the pool"):
        _check(pool, np.arange(1000), groups)


def test_a_shifted_feature_is_refused_by_its_number() -> None:
    pool = _table()
    index = pool.samples.x[:, 3].argsort()[1000:].numpy()
    with pytest.raises(SpecError, match=r"feature 3: mean 0\.\d+ in private_holdout, "):
        _check(pool, index)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 12), (2, 64)])
@pytest.mark.parametrize("change", ["brightness", "place", "contrast"])
def test_shifted_images_and_signals_are_refused(shape: tuple[int, ...], change: str) -> None:
    rng = RNG(0)
    x = 0.2 + 0.5 * rng.random((1000, *shape))
    x[:400] += {"brightness": 0.2, "place": 0.0, "contrast": 0.0}[change]
    if change == "place":
        x[:400, ..., : shape[-1] // 4] += 0.2
    if change == "contrast":
        x[:400] += 0.3 * (x[:400] - 0.45)
    pool = from_arrays(x.clip(0, 1).astype(np.float32), np.arange(1000) % 2)
    with pytest.raises(SpecError, match="brightness or contrast"):
        _check(pool, np.arange(400))
    _check(pool, np.arange(0, 1000, 3))
