"""MNIST, Fashion-MNIST and CIFAR-10 from their official files, in the layout torchvision uses.

Every official file is checked against its published MD5 before a byte of it is interpreted. A
missing file is fetched; if that fails, the error says which file to put where.
"""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pooch
from PIL import Image

from sltoolkit.data.layout import Array, nchw
from sltoolkit.data.npz import class_names, joined, read_arrays
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.errors import DataError

SET_ROOT = "set the folder of the data files with SLTOOLKIT_DATA or root="


@final
@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """A data set of four idx files.

    Attributes:
        name: the data set's name.
        folder: the folder of the files, below the root.
        url: the address of the folder with the official files.
        md5: the hashes of the official `.gz` files, in the order of `IDX_SHAPES`.
        classes: class names.
    """

    name: str
    folder: str
    url: str
    md5: tuple[str, str, str, str]
    classes: tuple[str, ...]


IDX_SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-labels-idx1-ubyte": (10_000,),
}

MNIST = IdxSet(
    name="mnist",
    folder="MNIST/raw",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "9fb629c4189551a2d022fa330f9573f3",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    classes=tuple("0123456789"),
)

FASHION_MNIST = IdxSet(
    name="fashion_mnist",
    folder="FashionMNIST/raw",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "bef4ecab320f06d8554ea6380940ec79",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
        "Bag", "Ankle boot",
    ),
)  # fmt: skip

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_ARCHIVE = "cifar-10-python.tar.gz"
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR10_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
CIFAR10_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CIFAR10_SHAPE = (3, 32, 32)
CIFAR10_TRAIN = 50_000
UNKNOWN_IDS = 1_000_000
"""The first source id of images whose official position isn't known."""


def mnist(root: Path) -> Pool:
    """MNIST, 70,000 images, 1x28x28: ids 0 to 59,999 are the training file, then the test file.

    LeCun, Cortes, Burges: The MNIST database of handwritten digits. The files are in
    `root`/MNIST/raw, compressed or not.

    Raises:
        DataError: if a file is missing and can't be fetched, or is not the official one.
    """
    return _idx_set(MNIST, root)


def fashion_mnist(root: Path) -> Pool:
    """Fashion-MNIST, 70,000 images, 1x28x28, ids as in `mnist` (Xiao, Rasul, Vollgraf 2017).

    The files are in `root`/FashionMNIST/raw, compressed or not.

    Raises:
        DataError: if a file is missing and can't be fetched, or is not the official one.
    """
    return _idx_set(FASHION_MNIST, root)


def cifar10(root: Path) -> Pool:
    """CIFAR-10, 3x32x32, with its original pixels (Krizhevsky 2009).

    Reads the official batches in `root`/cifar-10-batches-py if that folder exists, else the subset
    `root`/CIFAR10/cifar10_lossless_subset.npz (the first images of the training and of the test
    part, in official order), else fetches the official archive. The source id of training
    image i is i, that of test image i is 50,000 + i.

    Raises:
        DataError: if nothing is there and the archive can't be fetched, or a file is damaged.
    """
    folder, subset = root / CIFAR10_FOLDER, root / "CIFAR10" / "cifar10_lossless_subset.npz"
    if subset.exists() and not folder.is_dir():
        return _cifar10_subset(subset)
    if not folder.is_dir():
        members = [f"{CIFAR10_FOLDER}/{name}" for name in CIFAR10_MD5]
        unpack = pooch.Untar(members=members, extract_dir=".")
        fetch(root / CIFAR10_ARCHIVE, CIFAR10_URL, CIFAR10_ARCHIVE_MD5, processor=unpack)
    batches = [_batch(folder / name, md5) for name, md5 in CIFAR10_MD5.items()]
    x, y = (np.concatenate(part) for part in zip(*batches, strict=True))
    return from_arrays(x, y, name="cifar10", classes=CIFAR10_CLASSES)


def cifar10_jpeg(root: Path) -> Pool:
    """All 60,000 images of CIFAR-10 after JPEG compression: lossy (30.5 dB), never for claims.

    Good as the attacker's own data or for a quick look; don't compare numbers with a paper's. Ids
    are those of `cifar10`, so that overlaps of the two can be found. Test images whose official
    position isn't known have other ids, from `UNKNOWN_IDS` on, so their overlaps can't be found.

    Raises:
        DataError: if `root`/CIFAR10/cifar10_jpeg_full.npz is missing or damaged.
    """
    path = root / "CIFAR10" / "cifar10_jpeg_full.npz"
    if not path.exists():
        raise DataError(f"{path} is missing and is not published: put it there, or {SET_ROOT}")
    keys = ("jpeg", "offsets", "labels", "split", "index", "classes")
    jpeg, offsets, labels, split, index, classes = read_arrays(path, [keys]).values()
    count = labels.size
    integers = all(a.dtype.kind in "iu" for a in (jpeg, offsets, labels, split, index))
    shapes = [a.shape for a in (offsets, labels, split, index)]
    if not integers or shapes != [(count + 1,), (count,), (count,), (count,)]:
        raise DataError(f"{path}: its offsets, labels, split and index don't fit together")
    x = np.empty((count, 32, 32, 3), np.uint8)
    for i in range(count):
        x[i] = _decoded(jpeg[offsets[i] : offsets[i + 1]].tobytes(), f"{path}: image {i}")
    known = index + np.where(split == 1, CIFAR10_TRAIN, 0)
    ids = np.where(index < 0, UNKNOWN_IDS + np.cumsum(index < 0) - 1, known)
    names = class_names(classes, path)
    return from_arrays(nchw(x), labels, name="cifar10_jpeg", classes=names, ids=ids)


def _idx_set(source: IdxSet, root: Path) -> Pool:
    parts = [
        _idx(root / source.folder / name, shape, source.url, md5)
        for (name, shape), md5 in zip(IDX_SHAPES.items(), source.md5, strict=True)
    ]
    x, y = np.concatenate(parts[:2])[:, None], np.concatenate(parts[2:])
    return from_arrays(x, y, name=source.name, classes=source.classes)


def _idx(path: Path, shape: tuple[int, ...], url: str, md5: str) -> Array:
    """The array in the idx file `path`, or in `path`.gz, which is preferred (its hash is known)."""
    packed = path.with_name(path.name + ".gz")
    if path.exists() and not packed.exists():
        return _parsed_idx(read_checked(path), shape, path)
    if not packed.exists():
        fetch(packed, url, md5)
    return _parsed_idx(gzip.decompress(read_checked(packed, md5)), shape, packed)


def _parsed_idx(data: bytes, shape: tuple[int, ...], path: Path) -> Array:
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions; then their sizes, big-endian.
    header = struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)
    start = len(header)
    expected = f"expected the official file of {shape} unsigned bytes; delete it and get it again"
    if data[:4] != header[:4]:
        raise DataError(f"{path} begins with {data[:4].hex()}, not {header[:4].hex()}: {expected}")
    if data[:start] != header:
        raise DataError(f"{path} holds another number or size of samples: {expected}")
    size = start + int(np.prod(shape))
    if len(data) != size:
        raise DataError(f"{path} has {len(data)} bytes instead of {size}: {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _cifar10_subset(path: Path) -> Pool:
    keys = ("x_train", "y_train", "x_test", "y_test", "classes")
    x_train, y_train, x_test, y_test, classes = read_arrays(path, [keys]).values()
    x, y = joined([x_train, x_test], path), joined([y_train, y_test], path)
    if x.shape[1:] != (32, 32, 3) or x.dtype != np.uint8:
        raise DataError(f"{path}: images are {x.shape} {x.dtype}, expected (N, 32, 32, 3) uint8")
    ids = np.concatenate([np.arange(len(x_train)), CIFAR10_TRAIN + np.arange(len(x_test))])
    return from_arrays(nchw(x), y, name="cifar10", classes=class_names(classes, path), ids=ids)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes builtin containers and numpy arrays and can call nothing else."""

    # Both names, since numpy 2 renamed the module that the official files mention.
    ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.ndarray((0,)).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.ndarray((0,)).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The object of this name, if it is allowed."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]


def _batch(path: Path, md5: str) -> tuple[Array, Array]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) of an official batch, a pickle of Python 2."""
    try:
        content = _ArraysOnly(io.BytesIO(read_checked(path, md5)), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{path} is no batch of images: {error}. Delete it") from error
    return content["data"].reshape(-1, *CIFAR10_SHAPE), np.array(content["labels"])


def _decoded(data: bytes, where: str) -> Array:
    try:
        # Only this decoder: a file should not choose which of Pillow's many reads it.
        image = np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]))
    except OSError as error:
        raise DataError(f"{where} can't be decoded ({error}): get the file again") from error
    if image.shape != (32, 32, 3):
        raise DataError(f"{where} has the shape {image.shape}, expected (32, 32, 3)")
    return image


def read_checked(path: Path, md5: str | None = None) -> bytes:
    """The bytes of a file, checked against its hash if it has one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read ({error}): put it there, or {SET_ROOT}") from error
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise DataError(
            f"{path} is damaged or another file: its MD5 is {found}, the official file's {md5}. "
            "Delete it and get it again"
        )
    return data


def fetch(path: Path, url: str, md5: str, *, processor: pooch.Untar | None = None) -> None:
    """Download a missing official file to where it is looked for.

    Raises:
        DataError: if that fails.
    """
    try:
        pooch.retrieve(
            url=url + path.name, known_hash=f"md5:{md5}", fname=path.name, path=path.parent,
            processor=processor,
        )  # fmt: skip
    # requests' errors are OSErrors; pooch reports a wrong hash as a ValueError.
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"{path} is missing and could not be fetched from {url} ({error}). Put the official "
            f"file (MD5 {md5}) there, or {SET_ROOT}"
        ) from error
