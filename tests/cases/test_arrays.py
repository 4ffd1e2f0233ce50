"""Arrays, tables and data sets that users hold in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.situations import fault, open_fault, refusal_of
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import sltoolkit as sl

N = 60
Y = np.arange(N) % 2
_RNG = np.random.default_rng(0)
IMAGES = _RNG.random((N, 1, 8, 8), dtype=np.float32)
COLORS = _RNG.random((N, 3, 8, 8), dtype=np.float32)
NAMES = np.array(["cat", "dog"])[Y]


def test_binary_features_kept_as_uint8_are_not_scaled_away() -> None:
    x = (np.random.default_rng(0).random((N, 12)) > 0.5).astype(np.uint8)

    read: list[float] = []
    refused = refusal_of(lambda: read.extend(sl.data.from_arrays(x, Y).samples.x.unique().tolist()))

    assert refused or read == [0.0, 1.0]


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((32, 32, 3), id="colors last"),
        pytest.param((28, 28, 1), id="gray last"),
        pytest.param((28, 28), id="no channel"),
    ],
)
def test_images_are_not_taken_for_another_layout(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((N, *shape), dtype=np.float32)

    read: list[tuple[int, ...]] = []
    refused = refusal_of(lambda: read.append(tuple(sl.data.from_arrays(x, Y).samples.x.shape[1:])))

    channels = shape[2] if len(shape) == 3 else 1
    assert refused or read == [(channels, *shape[:2])]


@open_fault("the error advises .convert('RGB'), which clips everything above 255 to white")
def test_the_advice_for_pictures_of_16_bits_keeps_them() -> None:
    draws = np.random.default_rng(0)
    scans = [
        (Image.fromarray(draws.integers(300, 4096, (16, 16)).astype(np.uint16)), i % 2)
        for i in range(40)
    ]

    read: list[int] = []
    said = refusal_of(lambda: read.append(len(sl.data.from_dataset(scans).samples.x.unique())))

    assert "convert('RGB')" not in said
    assert said or read[0] > 2


def _table() -> Any:
    return pd.DataFrame({"age": range(N), "sex": ["f"] * N}).to_numpy()


@pytest.mark.parametrize(
    "read",
    [
        fault("an error from inside torch", lambda: sl.data.from_arrays(IMAGES, NAMES), id="text"),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(IMAGES, NAMES, classes=["cat", "dog"]),
            id="text with classes",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(IMAGES, pd.Series(NAMES, dtype="category")),  # type: ignore[arg-type]
            id="category column",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(IMAGES, Y.astype(object)),
            id="column of objects",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(pd.DataFrame(IMAGES[:, 0, 0]), Y),  # type: ignore[arg-type]
            id="data frame",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(_table(), Y),
            id="mixed data frame",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(
                IMAGES, Y, groups=np.array([f"p{i // 5}" for i in range(N)])
            ),
            id="patient names as groups",
        ),
        fault(
            "an error from inside torch",
            lambda: sl.data.from_arrays(IMAGES, Y, ids=np.array([f"{i}.png" for i in range(N)])),
            id="file names as ids",
        ),
    ],
)
def test_text_and_tables_are_read_or_refused_in_a_sentence(read: Callable[[], object]) -> None:
    refusal_of(read)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        fault("torch takes no negative strides", COLORS[:, ::-1], Y, id="BGR to RGB"),
        fault("torch takes no negative strides", COLORS[..., ::-1], Y, id="mirrored"),
        fault("torch takes no negative strides", COLORS, Y[::-1], id="labels reversed"),
        fault("torch takes no other byte order", COLORS.astype(">f4"), Y, id="big-endian x"),
        fault("torch takes no other byte order", COLORS, Y.astype(">i8"), id="big-endian y"),
    ],
)
def test_arrays_that_lie_otherwise_in_memory_are_read(x: np.ndarray, y: np.ndarray) -> None:
    read: list[sl.data.Pool] = []

    assert not refusal_of(lambda: read.append(sl.data.from_arrays(x, y)))

    np.testing.assert_array_equal(read[0].samples.x, x)
    np.testing.assert_array_equal(read[0].samples.y, y)


class _Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(IMAGES, Y, strict=True)


@pytest.mark.parametrize(
    "made",
    [
        fault("TypeError from inside", _Endless, id="IterableDataset"),
        fault(
            "TypeError from inside",
            lambda: DataLoader(TensorDataset(torch.tensor(IMAGES), torch.tensor(Y))),
            id="DataLoader",
        ),
    ],
)
def test_what_is_no_map_style_data_set_is_read_or_refused(made: Callable[[], Any]) -> None:
    refusal_of(lambda: sl.data.from_dataset(made()))


@pytest.mark.parametrize(
    "label",
    [
        fault("refused: only an integer is a label", lambda c: np.array([c]), id="(1,) array"),
        fault("refused: only an integer is a label", float, id="float"),
    ],
)
def test_labels_of_one_entry_are_labels(label: Callable[[int], Any]) -> None:
    samples = [(x, label(int(c))) for x, c in zip(IMAGES, Y, strict=True)]

    read: list[sl.data.Pool] = []
    assert not refusal_of(lambda: read.append(sl.data.from_dataset(samples)))

    assert read[0].samples.y.tolist() == Y.tolist()


def _samples(*shape: int) -> list[tuple[np.ndarray, int]]:
    draws = np.random.default_rng(0)
    return [(draws.random(shape, dtype=np.float32), int(c)) for c in Y]


@open_fault("(C, L) samples become images of one channel")
def test_signals_of_a_data_set_stay_signals() -> None:
    read = sl.data.from_dataset(_samples(12, 64))

    assert tuple(read.samples.x.shape[1:]) == (12, 64)


@pytest.mark.parametrize(
    "shape",
    [
        fault("refused with the advice already followed", (13, 16, 16), id="13 bands"),
        fault("refused with the advice already followed", (2, 16, 16), id="2 bands"),
        fault("refused with the advice already followed", (1, 128, 3), id="window"),
    ],
)
def test_bands_and_windows_are_read_or_told_what_helps(shape: tuple[int, ...]) -> None:
    said = refusal_of(lambda: sl.data.from_dataset(_samples(*shape)))

    assert "give tensors of shape (C, H, W)" not in said


@pytest.mark.parametrize(
    "value",
    [
        fault("found and expected read alike: '[0, 1], expected [0, 1]'", 1 + 1e-7, id="above"),
        fault("found and expected read alike: '[-1e-09, 1]'", -1e-9, id="below"),
    ],
)
def test_values_just_outside_the_range_are_taken_or_named(value: float) -> None:
    x = IMAGES.copy()
    x[0, 0, 0, 0] = value

    said = refusal_of(lambda: sl.data.from_arrays(x, Y))

    assert "divide by 255" not in said
