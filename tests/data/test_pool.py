"""Pools from arrays: identity, classes and types."""

from typing import Any

import numpy as np
import pytest
import torch

from sltoolkit.data.pool import from_arrays
from sltoolkit.errors import DataError

N = 6
X = np.random.default_rng(0).random((N, 1, 4, 4))
Y = np.arange(N) % 3


def test_by_default_every_sample_is_its_own_source_and_group() -> None:
    pool = from_arrays(X, Y)

    assert len(pool) == N
    assert pool.name == "arrays"
    assert pool.samples.ids.tolist() == list(range(N))
    assert torch.equal(pool.samples.groups, pool.samples.ids)
    assert pool.parts is None


def test_classes_are_numbered_up_to_the_largest_label() -> None:
    assert from_arrays(X, Y).classes == ("0", "1", "2")
    assert from_arrays(X, np.zeros(N)).classes == ("0",)
    assert from_arrays(X, Y, classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_inputs_are_kept_in_single_precision(dtype: Any) -> None:
    pool = from_arrays(X.astype(dtype), Y.astype(np.int32))

    assert pool.samples.x.dtype == torch.float32
    assert pool.samples.y.dtype == torch.int64
    np.testing.assert_array_equal(pool.samples.x, X.astype(dtype).astype(np.float32))


def test_bytes_are_scaled_by_255() -> None:
    pool = from_arrays(np.array([[[[0, 51, 255]]]], dtype=np.uint8), np.array([0]))

    assert pool.samples.x.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_features_have_no_range_and_integral_floats_are_labels() -> None:
    pool = from_arrays(np.array([[-7.0, 1e6], [0.0, 3.0]]), np.array([1.0, 0.0]))

    assert pool.samples.x.tolist() == [[-7.0, 1e6], [0.0, 3.0]]
    assert pool.samples.y.tolist() == [1, 0]


def test_sources_groups_and_parts_are_kept() -> None:
    pool = from_arrays(
        X, Y, ids=np.arange(N) * 10, groups=np.arange(N) // 2, parts=np.arange(N) % 2
    )

    assert pool.samples.ids.tolist() == [0, 10, 20, 30, 40, 50]
    assert pool.samples.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert pool.parts is not None
    assert pool.parts.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": np.zeros(N)}, "source ids must be one per sample and all different"),
        ({"ids": np.arange(N - 1)}, "source ids must be one per sample"),
        ({"groups": np.zeros(N - 1)}, f"groups has {N - 1} entries for {N} samples"),
        ({"classes": ["a", "b"]}, "labels lie in \\[0, 2\\], expected 0 to 1 for 2 classes"),
    ],
)
def test_what_does_not_fit_the_samples_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X, Y, **options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:0], "with at least one sample"),
        (X[0, 0, 0], "expected images"),
        (X[None], "expected images"),
        (X.astype(np.int64), "expected uint8 or float"),
        (np.where(X > 0.5, np.nan, X), "values are no numbers"),
        (X + 1, "expected \\[0, 1\\]"),
    ],
    ids=["none", "one row", "volumes", "integers", "nan", "range"],
)
def test_inputs_that_are_no_samples_are_refused(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(x, np.zeros(len(x), dtype=np.int64), name="mine")


def test_signals_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected \[0, 1\]"):
        from_arrays(np.full((2, 1, 9), 2.0), np.array([0, 1]))
