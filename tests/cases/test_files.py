"""Files in the layouts of public data sets."""

from pathlib import Path
from typing import Any

import numpy as np
from support.situations import open_fault, refusal_of

import sltoolkit as sl

N = 90
LABELS = (np.arange(N) % 3)[:, None]


def _gray() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (N, 28, 28), dtype=np.uint8)


def _shape(path: Path) -> tuple[int, ...]:
    read: list[tuple[int, ...]] = []
    assert not refusal_of(lambda: read.append(tuple(sl.data.npz(path).samples.x.shape)))
    return read[0]


@open_fault("twelve-lead signals in an .npz file are refused or read as images")
def test_signals_of_an_npz_file_stay_signals(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((N, 12, 64), dtype=np.float32)
    np.savez(tmp_path / "ecg.npz", x=x, y=LABELS[:, 0])

    assert _shape(tmp_path / "ecg.npz") == (N, 12, 64)


@open_fault("train_images, val_images, ... are not understood")
def test_npz_files_of_medmnist_are_read(tmp_path: Path) -> None:
    images: dict[str, Any] = {f"{part}_images": _gray() for part in ("train", "val", "test")}
    labels: dict[str, Any] = {f"{part}_labels": LABELS for part in ("train", "val", "test")}
    np.savez(tmp_path / "pathmnist.npz", **images, **labels)

    assert _shape(tmp_path / "pathmnist.npz")[1:] == (1, 28, 28)


@open_fault("labels of shape (N, 1) are refused")
def test_npz_files_of_keras_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "keras.npz", x_train=_gray(), y_train=LABELS, x_test=_gray(), y_test=LABELS)

    assert _shape(tmp_path / "keras.npz") == (2 * N, 1, 28, 28)
