"""MNIST and Fashion-MNIST: read exactly, and refused with a helpful sentence when damaged."""

import gzip
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from support.datafiles import write

from sltoolkit.data import files
from sltoolkit.data.pool import Pool
from sltoolkit.errors import DataError

MNIST_COUNTS = torch.tensor(
    [[5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
     [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]]
)  # fmt: skip
"""Digits in the training and the test file, as published."""


@pytest.fixture(scope="module")
def mnist(shared_data: Path) -> Pool:
    return files.mnist(shared_data)


# --- idx files ------------------------------------------------------------------------------------


def test_mnist_is_the_training_file_then_the_test_file(mnist: Pool) -> None:
    assert mnist.samples.x.shape == (70_000, 1, 28, 28)
    assert mnist.samples.x.dtype == torch.float32
    assert mnist.samples.ids.equal(torch.arange(70_000))
    counts = [part.bincount() for part in mnist.samples.y.split([60_000, 10_000])]
    assert torch.stack(counts).equal(MNIST_COUNTS)
    assert mnist.samples.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.samples.y[60_000:60_005].tolist() == [7, 2, 1, 0, 4]


def test_mnist_has_its_published_mean_and_deviation(mnist: Pool) -> None:
    train = mnist.samples.x[:60_000].double()

    assert float(train.mean()) == pytest.approx(0.1307, abs=5e-5)
    assert float(train.std()) == pytest.approx(0.3081, abs=5e-5)


def test_fashion_mnist_is_balanced_and_has_its_published_mean(shared_data: Path) -> None:
    pool = files.fashion_mnist(shared_data)

    assert pool.samples.y[:60_000].bincount().tolist() == [6000] * 10
    assert pool.samples.y[60_000:].bincount().tolist() == [1000] * 10
    assert float(pool.samples.x[:60_000].double().mean()) == pytest.approx(0.2860, abs=5e-5)
    assert pool.classes[9] == "Ankle boot"
    assert int(pool.samples.y[0]) == 9


def test_unpacked_files_give_the_same_samples(
    mnist: Pool, shared_data: Path, tmp_path: Path
) -> None:
    for packed in (shared_data / "MNIST" / "raw").glob("*.gz"):
        write(tmp_path / "MNIST" / "raw" / packed.stem, gzip.decompress(packed.read_bytes()))

    assert files.mnist(tmp_path).samples.x.equal(mnist.samples.x)


def idx(*shape: int, kind: int = 8, tail: int = 0) -> bytes:
    header = struct.pack(f">{1 + len(shape)}I", kind << 8 | len(shape), *shape)
    return header + bytes(int(np.prod(shape)) + tail)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of four small unpacked files in place of MNIST's."""
    shapes = {name: (shape[0] // 10_000, *shape[1:]) for name, shape in files.IDX_SHAPES.items()}
    monkeypatch.setattr(files, "IDX_SHAPES", shapes)
    for name, shape in shapes.items():
        write(tmp_path / "MNIST" / "raw" / name, idx(*shape))
    return tmp_path / "MNIST" / "raw"


def test_an_undamaged_unpacked_file_is_read(small: Path) -> None:
    path = small / "t10k-images-idx3-ubyte"
    path.write_bytes(idx(1, 28, 28)[:-1] + b"\xff")

    x = files.mnist(small.parents[1]).samples.x

    assert x.shape == (7, 1, 28, 28)
    assert x.nonzero().tolist() == [[6, 0, 27, 27]]


DAMAGED_IDX = {
    "floats instead of bytes": (idx(1, 28, 28, kind=13), "begins with 00000d03"),
    "labels instead of images": (idx(1), "begins with 00000801"),
    "empty": (b"", "begins with , not 00000803"),
    "header cut": (idx(1, 28, 28)[:9], "holds another number or size"),
    "other size": (idx(1, 27, 28), "holds another number or size"),
    "other number": (idx(100, 28, 28), "holds another number or size"),
    "cut short": (idx(1, 28, 28)[:-1], "has 799 bytes instead of 800"),
    "too long": (idx(1, 28, 28, tail=3), "has 803 bytes instead of 800"),
}


@pytest.mark.parametrize("case", DAMAGED_IDX)
def test_a_damaged_unpacked_file_is_refused(case: str, small: Path) -> None:
    data, reason = DAMAGED_IDX[case]
    path = write(small / "t10k-images-idx3-ubyte", data)

    with pytest.raises(DataError, match=f"{re.escape(str(path))} {reason}.*get it again"):
        files.mnist(small.parents[1])


def test_a_wrong_byte_in_a_packed_file_is_refused(shared_data: Path, tmp_path: Path) -> None:
    name = "train-images-idx3-ubyte.gz"
    data = bytearray((shared_data / "MNIST" / "raw" / name).read_bytes())
    data[5_000_000] ^= 1
    path = write(tmp_path / "MNIST" / "raw" / name, bytes(data))

    with pytest.raises(DataError, match=rf"{re.escape(str(path))} is damaged.*f68b3c2dcbe.*Delete"):
        files.mnist(tmp_path)


@pytest.mark.parametrize("data", [b"", b"not a gzip file", gzip.compress(idx(1))],
                         ids=["empty", "text", "gzip"])  # fmt: skip
def test_a_packed_file_that_is_not_the_official_one_is_refused(data: bytes, tmp_path: Path) -> None:
    write(tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte.gz", data)

    with pytest.raises(DataError, match="official file's 8d4fb7e6c68d591d4c3dfef9ec88bf0d"):
        files.fashion_mnist(tmp_path)


# --- missing files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name", "digest"),
    [
        (files.mnist, "MNIST/raw/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (files.fashion_mnist, "FashionMNIST/raw/train-images-idx3-ubyte.gz",
         "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (files.cifar10, "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("failure", [OSError("no route"), ValueError("another hash")])
def test_a_missing_file_says_what_to_put_where(
    load: Callable[[Path], Pool], name: str, digest: str, failure: Exception,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(**_: Any) -> None:
        raise failure

    monkeypatch.setattr(pooch, "retrieve", fail)

    with pytest.raises(DataError) as caught:
        load(tmp_path)

    for part in (str(tmp_path / name), digest, str(failure), "SLTOOLKIT_DATA", "root="):
        assert part in str(caught.value)


def test_only_what_is_missing_is_fetched_into_its_place_by_hash(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = shared_data / "MNIST" / "raw"
    missing = "t10k-labels-idx1-ubyte.gz"
    for source in official.glob("*.gz"):
        if source.name != missing:
            write(tmp_path / "MNIST" / "raw" / source.name, source.read_bytes())
    asked: list[dict[str, Any]] = []

    def retrieve(**request: Any) -> None:
        asked.append(request)
        write(request["path"] / request["fname"], (official / request["fname"]).read_bytes())

    monkeypatch.setattr(pooch, "retrieve", retrieve)

    assert len(files.mnist(tmp_path)) == 70_000
    assert [r["fname"] for r in asked] == [missing]
    assert asked[0]["path"] == tmp_path / "MNIST" / "raw"
    assert asked[0]["known_hash"] == "md5:ec29112dd5afa0611ce80d1b7f02629c"
    assert asked[0]["url"].endswith(f"/mnist/{missing}")


def test_the_jpeg_file_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10_jpeg_full\.npz is missing.*SLTOOLKIT_DATA"):
        files.cifar10_jpeg(tmp_path)
