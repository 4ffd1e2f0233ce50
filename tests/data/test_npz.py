"""Any npz file: read alike, and refused with a helpful sentence."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.images import LABELS, NCHW, NHWC, PIXELS, RNG

from sltoolkit.data.layout import ImageLayout
from sltoolkit.data.npz import npz
from sltoolkit.errors import DataError, SpecError


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("keys", [("x", "y"), ("x_train", "y_train"), ("images", "labels"),
                                  ("data", "labels")])  # fmt: skip
@pytest.mark.parametrize("x", [NCHW, NHWC, NCHW / 255, (NHWC / 255).astype(">f4")])
def test_names_layouts_and_types_give_the_same_samples(
    keys: tuple[str, str], x: np.ndarray, tmp_path: Path
) -> None:
    pool = npz(saved(tmp_path, **dict(zip(keys, (x, LABELS), strict=True))))

    assert pool.name == "mine"
    assert pool.classes == ("0", "1", "2")
    assert pool.samples.x.is_contiguous()
    assert torch.allclose(pool.samples.x, PIXELS, rtol=0, atol=1e-7)
    assert pool.samples.y.tolist() == LABELS.tolist()
    assert pool.samples.ids.tolist() == list(range(6))


def test_train_and_test_parts_are_joined_in_this_order(tmp_path: Path) -> None:
    path = saved(tmp_path, y_test=LABELS[4:], x_test=NCHW[4:], y_train=LABELS[:4], x_train=NCHW[:4])

    pool = npz(path)

    assert pool.samples.x.equal(PIXELS)
    assert pool.samples.y.tolist() == LABELS.tolist()


def test_gray_images_get_a_channel(tmp_path: Path) -> None:
    assert npz(saved(tmp_path, x=NCHW[:, 0], y=LABELS)).samples.x.equal(PIXELS[:, :1])


def test_features_stay_as_they_are(tmp_path: Path) -> None:
    x = RNG.normal(0, 10, (6, 4))

    assert npz(saved(tmp_path, x=x, y=LABELS)).samples.x.equal(torch.from_numpy(x).float())


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_class_names_are_read(dtype: str, tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "frog"], dtype)

    assert npz(saved(tmp_path, x=NCHW, y=LABELS, classes=names)).classes == ("cat", "dog", "frog")


@pytest.mark.parametrize(("shape", "which"), [((6, 3, 8, 3), "both"), ((6, 5, 8, 7), "neither")])
def test_an_ambiguous_layout_is_asked_for(
    shape: tuple[int, ...], which: str, tmp_path: Path
) -> None:
    x = RNG.random(shape)
    path = saved(tmp_path, x=x, y=LABELS)

    with pytest.raises(DataError, match=rf"mine\.npz.*{which} of the places.*layout='NCHW'"):
        npz(path)
    expected: dict[ImageLayout, np.ndarray] = {"NCHW": x, "NHWC": x.transpose(0, 3, 1, 2)}
    for layout, images in expected.items():
        found = npz(path, layout=layout).samples.x
        assert found.equal(torch.from_numpy(images).float())


def test_a_layout_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="layout is 'CHWN', expected 'NCHW'"):
        npz(saved(tmp_path, x=NCHW, y=LABELS), layout="CHWN")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": NCHW, "z": LABELS}, "holds the arrays x, z, expected one of these sets: x, y; "),
        ({}, r"holds the arrays \(none\)"),
        ({"x": NCHW, "y": LABELS.astype(object)}, "Object arrays.*never unpickled"),
        ({"x": NCHW, "y": LABELS, "classes": np.array(["a"], object)}, "Object arrays.*as strings"),
        ({"x": NCHW, "y": LABELS, "classes": np.array("abc")}, r"classes has shape \(\)"),
        ({"x": NCHW, "y": LABELS.astype(str)}, r"found \(6,\) <U21, expected arrays of numbers"),
        ({"x": np.array(1.0), "y": LABELS}, r"found \(\) float64, expected arrays of numbers"),
        ({"x": NCHW[None], "y": LABELS}, r"inputs have shape \(1, 6, 3, 5, 7\)"),
        (
            {"x_train": NCHW, "y_train": LABELS, "x_test": NHWC, "y_test": LABELS},
            r"don't fit together: \(6, 3, 5, 7\) uint8 and \(6, 5, 7, 3\) uint8",
        ),
        (
            {"x_train": NCHW, "y_train": LABELS, "x_test": NCHW / 255, "y_test": LABELS},
            "don't fit together: .* uint8 and .* float64",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(
    arrays: dict[str, np.ndarray], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"mine\.npz.*{reason}"):
        npz(saved(tmp_path, **arrays))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, x=NCHW, y=LABELS)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]

    for data in (b"", b"text", pickle.dumps([1]), whole[:middle], whole[:-1], flipped):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"mine\.npz is no readable \.npz.*numpy\.savez"):
            npz(path)


def test_a_single_array_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", NCHW)

    with pytest.raises(DataError, match=r"x\.npy is a single array"):
        npz(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"y\.npz is missing"):
        npz(str(tmp_path / "y.npz"))


class Malice:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_malicious_array_is_refused_without_executing(tmp_path: Path) -> None:
    canary = tmp_path / "executed"
    path = saved(tmp_path, x=NCHW, y=np.array([Malice(canary)], object))

    with pytest.raises(DataError, match="never unpickled"):
        npz(path)
    assert not canary.exists()

    with np.load(path, allow_pickle=True) as archive:
        archive["y"]
    assert canary.exists(), "the array must be one that would have executed"


def test_the_cifar_subset_reads_as_any_npz_file(shared_data: Path) -> None:
    pool = npz(shared_data / "CIFAR10" / "cifar10_lossless_subset.npz")

    assert pool.samples.x.shape == (5000, 3, 32, 32)
    assert pool.classes[6] == "frog"
