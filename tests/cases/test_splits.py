"""Splits of data whose samples repeat, look alike, or have labels that start elsewhere."""

import numpy as np
import pytest
from support.situations import refusal_of
from torch import Tensor

import sltoolkit as sl


def _positives(y: Tensor) -> float:
    return y.float().mean().item()


def test_the_parts_have_the_pools_distribution_though_rows_repeat() -> None:
    rng = np.random.default_rng(0)
    usual = rng.random(4000) < 0.9  # class 0: four binary features, so that rows repeat
    x = np.zeros((4000, 12), np.float32)
    x[:, :4] = rng.integers(0, 2, (4000, 4))
    x[~usual, 4:] = rng.random((int((~usual).sum()), 8))
    pool = sl.data.from_arrays(x, (~usual).astype(int))

    parts = sl.data.split(pool, train=1000, holdout=100, aux=100)

    share = _positives(pool.samples.y)
    assert _positives(parts.private_train.y) == pytest.approx(share, abs=0.05)
    assert _positives(parts.private_holdout.y) == pytest.approx(share, abs=0.15)
    assert _positives(parts.aux.y) == pytest.approx(share, abs=0.15)


def _twelve_of_sixteen_bits() -> np.ndarray:
    digits = sl.data.pool("digits").samples.x.numpy()
    return digits * np.float32(4095 / 65535)


def _texture() -> np.ndarray:
    return np.random.default_rng(0).random((250, 1, 160, 160), dtype=np.float32)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(_twelve_of_sixteen_bits, id="12 of 16"),
        pytest.param(_texture, id="texture"),
    ],
)
def test_images_that_differ_are_no_near_duplicates(images: object) -> None:
    assert callable(images)
    x = images()
    pool = sl.data.from_arrays(x, np.arange(len(x)) % 2)

    assert not refusal_of(lambda: sl.data.split(pool, train=150, holdout=50, aux=50))


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param((1, 2), id="from one"),
        pytest.param((3, 5), id="gaps"),
    ],
)
def test_labels_that_do_not_start_at_zero_are_read_or_explained(labels: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((300, 1, 8, 8), dtype=np.float32)
    y = np.where(np.arange(300) % 2, *labels)

    said = refusal_of(
        lambda: sl.data.split(sl.data.from_arrays(x, y), train=150, holdout=40, aux=40)
    )

    assert "ask for more training samples" not in said
