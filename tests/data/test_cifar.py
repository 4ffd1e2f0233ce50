"""CIFAR-10's batches, its lossless subset and its JPEG images: read exactly, or refused."""

import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from PIL import Image
from support.datafiles import write

from sltoolkit.data import files
from sltoolkit.errors import DataError


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


# --- CIFAR-10's batches ---------------------------------------------------------------------------


def python2_pickle(content: dict[str, Any]) -> bytes:
    """A pickle like the official ones: byte strings as strings, numpy's module by its old name."""

    class Python2Pickler(pickle._Pickler):
        dispatch = pickle._Pickler.dispatch.copy()

        def save_text(self, text: Any) -> None:
            data = text if isinstance(text, bytes) else text.encode("latin1")
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)  # type: ignore[attr-defined]

        dispatch[str] = dispatch[bytes] = save_text  # type: ignore[assignment]

    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Six small batches in place of the official ones; returns their images as written."""
    rng = np.random.default_rng(0)
    images, hashes = {}, {}
    for i, name in enumerate(files.CIFAR10_MD5):
        images[name] = rng.integers(0, 256, (4, 3072), np.uint8)
        content = {"data": images[name], "labels": [i, 1, 2, 3], "batch_label": name}
        path = write(tmp_path / "cifar-10-batches-py" / name, python2_pickle(content))
        hashes[name] = md5(path.read_bytes())
    monkeypatch.setattr(files, "CIFAR10_MD5", hashes)
    return images


def test_batches_are_read_in_order_with_channels_first(
    batches: dict[str, np.ndarray], tmp_path: Path
) -> None:
    pool = files.cifar10(tmp_path)

    assert pool.samples.x.shape == (24, 3, 32, 32)
    assert pool.samples.y[::4].tolist() == [0, 1, 2, 3, 4, 5]
    for i, images in enumerate(batches.values()):
        red = torch.from_numpy(images[3, :1024]).reshape(32, 32) / 255
        assert pool.samples.x[4 * i + 3, 0].equal(red)


@pytest.mark.usefixtures("batches")
def test_a_changed_batch_is_refused_before_it_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(DataError, match=r"data_batch_3 is damaged.*MD5"):
        files.cifar10(tmp_path)


@pytest.mark.usefixtures("batches")
def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()

    with pytest.raises(DataError, match=r"test_batch can't be read.*SLTOOLKIT_DATA"):
        files.cifar10(tmp_path)


class Malice:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_malicious_batch_with_the_right_hash_is_refused_without_executing(
    batches: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "executed"
    images = next(iter(batches.values()))
    data = pickle.dumps({"labels": [0, 1, 2, 3], "data": images, "x": Malice(canary)}, protocol=2)
    write(tmp_path / "cifar-10-batches-py" / "data_batch_1", data)
    monkeypatch.setitem(files.CIFAR10_MD5, "data_batch_1", md5(data))

    with pytest.raises(DataError, match=r"data_batch_1 is no batch of images: it asks for "):
        files.cifar10(tmp_path)
    assert not canary.exists()

    pickle.loads(data)
    assert canary.exists(), "the pickle must be one that would have executed"


@pytest.mark.usefixtures("batches")
def test_a_fetched_archive_is_unpacked_into_the_folder_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "fresh"
    root.mkdir()

    def retrieve(**request: Any) -> None:
        path = request["path"] / request["fname"]
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
        request["processor"](str(path), "download", None)

    monkeypatch.setattr(pooch, "retrieve", retrieve)

    assert files.cifar10(root).samples.digest() == files.cifar10(tmp_path).samples.digest()


@pytest.mark.usefixtures("batches")
def test_the_official_batches_go_before_the_subset(tmp_path: Path) -> None:
    write(tmp_path / "CIFAR10" / "cifar10_lossless_subset.npz", b"not even read")

    assert len(files.cifar10(tmp_path)) == 24


# --- CIFAR-10's npz files -------------------------------------------------------------------------


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def jpeg_arrays(images: list[bytes], index: list[int], split: list[int]) -> dict[str, np.ndarray]:
    return {
        "jpeg": np.frombuffer(b"".join(images), np.uint8),
        "offsets": np.cumsum([0, *map(len, images)]),
        "labels": np.arange(len(images)),
        "split": np.array(split, np.uint8),
        "index": np.array(index, np.int32),
        "classes": np.array(files.CIFAR10_CLASSES),
    }


def write_jpeg_file(root: Path, arrays: dict[str, np.ndarray]) -> None:
    path = root / "CIFAR10" / "cifar10_jpeg_full.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def trimmed(arrays: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of a file of JPEG images."""
    ends = arrays["offsets"]
    images = [arrays["jpeg"][ends[i] : ends[i + 1]].tobytes() for i in rows]
    chosen = {key: arrays[key][rows] for key in ("labels", "split", "index")}
    return jpeg_arrays(images, [], []) | chosen


def test_the_two_cifar_files_overlap_by_id_with_the_same_labels_and_similar_pixels(
    shared_data: Path, tmp_path: Path
) -> None:
    with np.load(shared_data / "CIFAR10" / "cifar10_jpeg_full.npz") as archive:
        arrays = dict(archive)
    # All rows that can overlap and some that can't; decoding all 60,000 would take 5 s.
    rows = np.r_[0:4100, 50_000:51_000, 59_900:60_000]
    write_jpeg_file(tmp_path, trimmed(arrays, rows))
    exact, lossy = files.cifar10(shared_data).samples, files.cifar10_jpeg(tmp_path).samples

    place = {int(i): row for row, i in enumerate(lossy.ids)}
    common = [row for row, i in enumerate(exact.ids) if int(i) in place]
    assert len(common) == len(exact) == 5000
    assert int((exact.ids < 50_000).sum()) == 4000
    partner = lossy[torch.tensor([place[int(i)] for i in exact.ids])]
    assert partner.y.equal(exact.y)

    mse = (partner.x - exact.x).double().square().flatten(1).mean(1)
    psnr = -10 * mse.log10()
    assert float(psnr.mean()) == pytest.approx(30.5, abs=0.1)
    assert float(psnr.min()) > 20
    others = (partner.x.roll(1, 0) - exact.x).double().square().flatten(1).mean(1)
    assert bool((mse < others).all())


@pytest.mark.slow
def test_the_whole_jpeg_file_has_its_published_statistics(shared_data: Path) -> None:
    samples = files.cifar10_jpeg(shared_data).samples

    assert len(samples) == 60_000
    assert samples.y.bincount().tolist() == [6000] * 10
    assert samples.ids[:50_000].equal(torch.arange(50_000))
    assert int((samples.ids >= 1_000_000).sum()) == 9000
    means = samples.x[:50_000].double().mean((0, 2, 3))
    assert torch.allclose(
        means, torch.tensor([0.4913, 0.4821, 0.4465], dtype=torch.float64), atol=1e-4
    )


def test_the_subset_has_its_official_ids_and_first_labels(shared_data: Path) -> None:
    pool = files.cifar10(shared_data)

    assert pool.samples.ids.equal(torch.cat([torch.arange(4000), 50_000 + torch.arange(1000)]))
    assert [pool.classes[i] for i in pool.samples.y[:4]] == ["frog", "truck", "truck", "deer"]
    assert [pool.classes[i] for i in pool.samples.y[4000:4003]] == ["cat", "ship", "ship"]
    assert pool.samples.x.is_contiguous()


@pytest.mark.parametrize("x", [np.zeros((2, 3, 32, 32), np.uint8), np.zeros((2, 32, 32, 3))])
def test_a_subset_of_another_shape_or_type_is_refused(x: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "CIFAR10").mkdir()
    y = np.arange(2)
    path = tmp_path / "CIFAR10" / "cifar10_lossless_subset.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y, classes=np.array(["a", "b"]))

    with pytest.raises(DataError, match=r"subset\.npz: images are \(4, .*expected \(N, 32, 32, 3"):
        files.cifar10(tmp_path)


def test_ids_of_jpeg_images_are_official_positions_or_out_of_their_way(tmp_path: Path) -> None:
    images = [jpeg(i) for i in range(5)]
    write_jpeg_file(tmp_path, jpeg_arrays(images, [7, -1, 0, 7, -1], [0, 1, 0, 1, 1]))

    pool = files.cifar10_jpeg(tmp_path)

    assert pool.samples.ids.tolist() == [7, 1_000_000, 0, 50_007, 1_000_001]
    assert pool.samples.x.shape == (5, 3, 32, 32)
    decoded = np.asarray(Image.open(io.BytesIO(images[3])))
    assert pool.samples.x[3, 2].equal(torch.tensor(decoded[:, :, 2]) / 255)


def other_format() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    return buffer.getvalue()


def other_size() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 32)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (jpeg(1)[:200], "can't be decoded"),
        (b"", "can't be decoded"),
        (other_format(), "can't be decoded"),
        (other_size(), r"has the shape \(32, 16, 3\)"),
    ],
    ids=["cut short", "empty", "PNG", "other size"],
)
def test_a_damaged_jpeg_image_is_named(image: bytes, reason: str, tmp_path: Path) -> None:
    write_jpeg_file(tmp_path, jpeg_arrays([jpeg(0), image], [0, 1], [0, 0]))

    with pytest.raises(DataError, match=rf"cifar10_jpeg_full\.npz: image 1 {reason}"):
        files.cifar10_jpeg(tmp_path)


@pytest.mark.parametrize("key", ["offsets", "split", "index"])
def test_jpeg_arrays_that_do_not_fit_together_are_refused(key: str, tmp_path: Path) -> None:
    arrays = jpeg_arrays([jpeg(0), jpeg(1)], [0, 1], [0, 0])
    write_jpeg_file(tmp_path, arrays | {key: arrays[key][:-1]})

    with pytest.raises(DataError, match="don't fit together"):
        files.cifar10_jpeg(tmp_path)
