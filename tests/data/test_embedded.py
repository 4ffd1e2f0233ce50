"""The data sets that ship inside our dependencies are as the registry says."""

from collections.abc import Callable

import pytest
import torch

from sltoolkit.data import embedded
from sltoolkit.data.pool import Pool
from sltoolkit.data.registry import DATASETS

EVERY = pytest.mark.parametrize(
    ("name", "loader"), [(name, getattr(embedded, name)) for name in ("digits", "faces", "photos")]
)


@EVERY
def test_shapes_classes_and_counts_are_those_of_the_registry(
    name: str, loader: Callable[[], Pool]
) -> None:
    pool, entry = loader(), DATASETS[name]

    assert entry.embedded
    assert entry.loader is loader
    assert tuple(pool.samples.x.shape[1:]) == entry.shape
    assert len(pool.classes) == entry.classes
    assert len(pool) == entry.samples
    assert pool.samples.y.unique().tolist() == list(range(entry.classes))


@EVERY
def test_reading_twice_gives_the_same(name: str, loader: Callable[[], Pool]) -> None:
    assert loader().samples.digest() == loader().samples.digest()


def test_faces_are_half_of_the_pictures() -> None:
    pool = embedded.faces()

    assert pool.classes == ("other", "face")
    assert pool.samples.y.bincount().tolist() == [100, 100]


def test_a_tile_of_a_photograph_has_one_class_and_one_part() -> None:
    pool = embedded.photos()
    assert pool.parts is not None

    for facts in (pool.samples.y, pool.parts):
        pairs = torch.stack([pool.samples.groups, facts], 1).unique(dim=0)
        assert len(pairs) == len(pool.samples.groups.unique())


def test_every_photograph_has_tiles_in_every_part() -> None:
    pool = embedded.photos()
    assert pool.parts is not None

    pairs = torch.stack([pool.samples.y, pool.parts], 1).unique(dim=0)

    assert len(pairs) == 6 * 3


def test_a_tile_gives_nine_patches() -> None:
    assert embedded.photos().samples.groups.bincount().unique().tolist() == [9]
