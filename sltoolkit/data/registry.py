"""The data sets by name; a new data set is one loader and one entry here."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pooch

from sltoolkit.data import embedded, files, signals, tables
from sltoolkit.data.npz import npz
from sltoolkit.data.pool import Pool
from sltoolkit.data.samples import Split
from sltoolkit.data.split import Duplicates, split, with_foreign_aux
from sltoolkit.errors import lookup


@final
@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A registered data set.

    Attributes:
        loader: reads it; takes the root folder unless the data set is embedded.
        description: one line.
        citation: where it comes from, and its license as far as known.
        sizes: default numbers of private_train, private_holdout and aux samples.
        shape: the shape of one input, without the batch axis.
        classes: number of classes.
        samples: number of samples in the official training part, or in all if there is none.
        embedded: whether it ships inside a dependency.
    """

    loader: Callable[..., Pool]
    description: str
    citation: str
    sizes: tuple[int, int, int]
    shape: tuple[int, ...]
    classes: int
    samples: int
    embedded: bool = False


DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        loader=embedded.digits,
        description="1,797 handwritten digits, 1x8x8; demonstration and tests only",
        citation="Alpaydin & Kaynak 1998, UCI; scikit-learn's copy (CC BY 4.0)",
        sizes=(800, 400, 500),
        shape=(1, 8, 8),
        classes=10,
        samples=1_797,
        embedded=True,
    ),
    "photos": DatasetEntry(
        loader=embedded.photos,
        description="3x32x32 patches of six photographs; demonstration and tests only",
        citation="scikit-image's example pictures (public domain and CC0, see its data/README)",
        sizes=(1200, 240, 700),
        shape=(3, 32, 32),
        classes=6,
        samples=2_430,
        embedded=True,
    ),
    "faces": DatasetEntry(
        loader=embedded.faces,
        description="100 faces and 100 non-faces, 1x25x25; tests only",
        citation="Huang et al. 2007, Labeled Faces in the Wild; scikit-image's subset",
        sizes=(100, 40, 50),
        shape=(1, 25, 25),
        classes=2,
        samples=200,
        embedded=True,
    ),
    "mnist": DatasetEntry(
        loader=files.mnist,
        description="70,000 handwritten digits, 1x28x28",
        citation="LeCun, Cortes, Burges: The MNIST database (commonly given as CC BY-SA 3.0)",
        sizes=(10_000, 2_000, 10_000),
        shape=(1, 28, 28),
        classes=10,
        samples=60_000,
    ),
    "fashion_mnist": DatasetEntry(
        loader=files.fashion_mnist,
        description="70,000 pieces of clothing, 1x28x28",
        citation="Xiao, Rasul, Vollgraf 2017, Fashion-MNIST (MIT)",
        sizes=(10_000, 2_000, 10_000),
        shape=(1, 28, 28),
        classes=10,
        samples=60_000,
    ),
    "cifar10": DatasetEntry(
        loader=files.cifar10,
        description="CIFAR-10, 3x32x32: the official batches, or a lossless subset of 5,000",
        citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
        sizes=(2_500, 500, 1_500),
        shape=(3, 32, 32),
        classes=10,
        samples=50_000,
    ),
    "cifar10_jpeg": DatasetEntry(
        loader=files.cifar10_jpeg,
        description="CIFAR-10, all 60,000 images after JPEG compression: lossy, never for claims",
        citation="Krizhevsky 2009, Learning multiple layers of features from tiny images",
        sizes=(10_000, 2_000, 10_000),
        shape=(3, 32, 32),
        classes=10,
        samples=50_000,
    ),
    "mitbih": DatasetEntry(
        loader=signals.mitbih,
        description="43,980 heartbeats, 1x128, of 44 patients who are kept apart",
        citation="Moody & Mark 2001, MIT-BIH arrhythmia database (PhysioNet, ODC-By)",
        sizes=(10_000, 2_000, 8_000),
        shape=(1, 128),
        classes=3,
        samples=43_980,
    ),
    "adult": DatasetEntry(
        loader=tables.adult,
        description="48,842 people of a census, features in [0, 1]: income above 50,000 dollars?",
        citation="Kohavi & Becker 1996, Adult (UCI, CC BY 4.0)",
        sizes=(10_000, 2_000, 10_000),
        shape=(91,),
        classes=2,
        samples=32_561,
    ),
}


def data_root(root: Path | str | None = None) -> Path:
    """The folder of the data files: `root`, else $SLTOOLKIT_DATA, else the user's cache."""
    return Path(root or os.environ.get("SLTOOLKIT_DATA") or pooch.os_cache("sltoolkit"))


def pool(name: str, *, root: Path | str | None = None) -> Pool:
    """A whole data set.

    Args:
        name: a registered name, or the path of an `.npz` file.
        root: the folder of the data files.

    Raises:
        SpecError: if there is no such data set.
        DataError: if its files are missing or damaged.
    """
    if name.endswith(".npz"):
        return npz(Path(name))
    entry = lookup(DATASETS, name, "data set")
    return entry.loader() if entry.embedded else entry.loader(data_root(root))


def load(
    name: str, *, train: int | None = None, holdout: int | None = None, aux: int | None = None,
    aux_from: str | None = None, seed: int = 0, root: Path | str | None = None,
    duplicates: Duplicates = "together",
) -> Split:  # fmt: skip
    """A data set, split.

    Args:
        name: a registered name, or the path of an `.npz` file.
        train: samples of `private_train`; by default the entry's size, or half of an `.npz` file.
        holdout: samples of `private_holdout`; by default the entry's size, or a fifth of the file.
        aux: samples of the attacker; by default the entry's size, or the rest of the file.
        aux_from: the data set from which the attacker's samples come; `name` by default.
        seed: the seed of the draw.
        root: the folder of the data files.
        duplicates: what becomes of near-duplicate images, as in `split`.

    Raises:
        SpecError: if there is no such data set, or `split` refuses the parts.
        DataError: if files are missing or damaged, there are too few samples, or those of
            `aux_from` have another shape or more classes.
    """
    whole = pool(name, root=root)
    entry = DATASETS.get(name)
    n = len(whole)
    sizes = (n // 2, n // 5, n - n // 2 - n // 5) if entry is None else entry.sizes
    asked = [given if given is not None else default
             for given, default in zip((train, holdout, aux), sizes, strict=True)]  # fmt: skip
    made = split(
        whole, train=asked[0], holdout=asked[1], aux=asked[2], seed=seed, duplicates=duplicates
    )
    if aux_from in (None, name):
        return made
    return with_foreign_aux(made, pool(str(aux_from), root=root), count=asked[2], seed=seed)


def facts(name: str) -> tuple[tuple[int, ...], int, int]:
    """Shape of one input, number of classes, and training samples, as in `DatasetEntry`.

    A registered data set is not read; in an `.npz` file all samples count.

    Raises:
        SpecError: if there is no such data set.
        DataError: if the `.npz` file is missing or damaged.
    """
    if name.endswith(".npz"):
        whole = pool(name)
        return tuple(whole.samples.x.shape[1:]), len(whole.classes), len(whole)
    entry = lookup(DATASETS, name, "data set")
    return entry.shape, entry.classes, entry.samples


def describe(name: str) -> dict[str, Any]:
    """Facts about a registered data set, without reading it."""
    entry = lookup(DATASETS, name, "data set")
    return {
        "name": name,
        "description": entry.description,
        "citation": entry.citation,
        "default_sizes": dict(zip(("train", "holdout", "aux"), entry.sizes, strict=True)),
        "files": "none: embedded" if entry.embedded else str(data_root()),
    }
