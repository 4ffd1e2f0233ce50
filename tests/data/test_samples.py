"""Samples and splits: indexing, hashes and how they print."""

from dataclasses import replace

import pytest
import torch

from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError


def samples(n: int = 6, *, first: int = 0) -> Samples:
    g = torch.Generator().manual_seed(first)
    return Samples(
        x=torch.rand(n, 2, 3, 4, generator=g),
        y=torch.arange(n) % 2,
        ids=torch.arange(first, first + n),
        groups=torch.arange(n) // 2,
    )


def split() -> Split:
    return Split(
        name="made up",
        private_train=samples(6),
        private_holdout=samples(4, first=10),
        aux=samples(2, first=20),
        classes=("no", "yes"),
    )


@pytest.mark.parametrize(
    "index",
    [slice(1, 4), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 1, 1, 0, 0]).bool()],
    ids=["slice", "indices", "mask"],
)
def test_an_index_takes_the_same_rows_of_everything(index: torch.Tensor | slice) -> None:
    whole = samples()

    part = whole[index]

    assert len(part) == 3
    assert torch.equal(part.x, whole.x[1:4])
    assert part.y.tolist() == [1, 0, 1]
    assert part.ids.tolist() == [1, 2, 3]
    assert part.groups.tolist() == [0, 1, 1]


def test_the_hash_is_that_of_pixels_labels_and_ids() -> None:
    base = samples()

    assert samples().digest() == base.digest()
    assert len(base.digest()) == 16
    changed = [
        replace(base, x=base.x + 1e-6),
        replace(base, y=1 - base.y),
        replace(base, ids=base.ids + 1),
        replace(base, x=base.x.double()),
        replace(base, x=base.x.flatten(1)),
        base[:5],
    ]
    assert base.digest() not in {other.digest() for other in changed}


def test_the_hash_ignores_how_pixels_lie_in_memory() -> None:
    base = samples()
    last = base.x.contiguous(memory_format=torch.channels_last)

    assert replace(base, x=last).digest() == base.digest()


def test_the_majority_share_is_that_of_the_most_frequent_class() -> None:
    assert replace(samples(4), y=torch.tensor([2, 0, 2, 2])).majority_share == 0.75
    with pytest.raises(DataError, match="at least one sample"):
        _ = samples(6)[:0].majority_share


def test_a_split_keeps_the_hashes_of_its_parts() -> None:
    made = split()

    assert made.digests == {
        "private_train": made.private_train.digest(),
        "private_holdout": made.private_holdout.digest(),
        "aux": made.aux.digest(),
    }
    assert replace(made, aux=samples(3, first=20)).digests["aux"] != made.digests["aux"]


def test_a_split_says_what_it_holds() -> None:
    assert split().shape == (2, 3, 4)
    assert repr(split()) == "Split(made up: 2x3x4, 2 classes, 6 train, 4 held out, 2 aux)"


def test_moving_a_split_changes_no_hash() -> None:
    moved = split().to("cpu")

    assert moved.digests == split().digests
    assert moved.to(torch.device("cpu")).classes == ("no", "yes")
