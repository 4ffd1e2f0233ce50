"""Layouts are told by shapes or by the user, alike for arrays, data sets and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sltoolkit.data.dataset import from_dataset
from sltoolkit.data.layout import Layout, channels_first, documented, nchw
from sltoolkit.data.npz import npz
from sltoolkit.data.parts import parts
from sltoolkit.data.pool import from_arrays
from sltoolkit.errors import DataError, SpecError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shape", [(3, 8, 8), (1, 8, 1), (4, 9, 3), (13, 16, 16), (1, 8), (12, 64), (2, 9), (7,)]
)
def test_the_documented_layout_is_taken_as_it_is(shape: tuple[int, ...]) -> None:
    x = RNG.random((5, *shape))
    assert documented(x, "mine", layout=None) is x


@pytest.mark.parametrize(
    "shape", [(32, 32, 3), (28, 28, 1), (8, 8, 8), (9, 8, 2), (28, 28), (32, 64), (64, 32), (8, 9)]
)
def test_an_odd_shape_asks_for_the_layout(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=f"mine: x has shape .*{shape[0]} channels.*layout="):
        documented(RNG.random((5, *shape)), "mine", layout=None)


LAYOUTS: list[tuple[Layout, tuple[int, ...], tuple[int, ...]]] = [
    ("NCHW", (32, 32, 3), (32, 32, 3)),
    ("NHWC", (32, 30, 3), (3, 32, 30)),
    ("NCL", (28, 28), (28, 28)),
    ("NHW", (28, 30), (1, 28, 30)),
]


@pytest.mark.parametrize(("layout", "given", "read"), LAYOUTS)
def test_a_layout_that_is_given_is_obeyed(
    layout: Layout, given: tuple[int, ...], read: tuple[int, ...]
) -> None:
    x = RNG.random((5, *given), dtype=np.float32)
    for form in (x, torch.from_numpy(x)):
        found = from_arrays(form, np.arange(5), layout=layout).samples.x
        assert found.shape == (5, *read)
        assert found.is_contiguous()
        expected = np.moveaxis(x, -1, 1) if layout == "NHWC" else x.reshape(5, *read)
        np.testing.assert_array_equal(found.numpy(), expected)


def test_a_layout_that_does_not_fit_or_exist_is_refused() -> None:
    with pytest.raises(DataError, match="which layout='NHWC' doesn't fit"):
        from_arrays(RNG.random((5, 8)), np.arange(5), layout="NHWC")
    with pytest.raises(SpecError, match="layout is 'NWHC', expected 'NCHW', 'NHWC', 'NCL', 'NHW'"):
        from_arrays(RNG.random((5, 8)), np.arange(5), layout="NWHC")  # type: ignore[arg-type]


def test_channels_last_become_first() -> None:
    x = RNG.random((2, 6, 5, 3))
    assert nchw(x).shape == channels_first(x, "mine", fix="").shape == (2, 3, 6, 5)
    assert nchw(torch.from_numpy(x)).equal(torch.from_numpy(nchw(x)))


@pytest.mark.parametrize("source", ["arrays", "data set", "npz", "parts"])
@pytest.mark.parametrize("top", [1, 255])
def test_bytes_are_scaled_if_they_are_pixels_and_kept_if_they_are_features(
    source: str, top: int, tmp_path: Path
) -> None:
    def read(x: np.ndarray) -> Any:
        if source == "arrays":
            return from_arrays(x, y).samples.x
        if source == "data set":
            return from_dataset(list(zip(x, y.tolist(), strict=True))).samples.x
        if source == "npz":
            np.savez(tmp_path / "mine.npz", x=x, y=y)
            return npz(tmp_path / "mine.npz").samples.x
        rest = {"holdout": (x[20:25], y[20:25]), "aux": (x[25:], y[25:])}
        made = parts(train=(x[:20], y[:20]), **rest)  # type: ignore[arg-type]
        return torch.cat([made.private_train.x, made.private_holdout.x, made.aux.x])

    y = np.arange(30) % 2
    features = RNG.integers(0, top + 1, (30, 64)).astype(np.uint8)
    np.testing.assert_array_equal(read(features), features.astype(np.float32))
    images = features.reshape(30, 1, 8, 8)
    np.testing.assert_allclose(read(images), images / np.float32(255), rtol=1e-6)
