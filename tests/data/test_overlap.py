"""Copies of private rows among the attacker's, and rows that are equal by chance."""

import pytest
import torch
from torch import Tensor

from sltoolkit.data.overlap import copied_rows
from sltoolkit.data.samples import Samples

SHAPES = pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16), (5,)], ids=str)


def _samples(x: Tensor) -> Samples:
    n = torch.arange(len(x))
    return Samples(x=x, y=n % 2, ids=n, groups=n)


@SHAPES
@pytest.mark.parametrize("copies", [0, 1, 7])
def test_every_copy_counts(shape: tuple[int, ...], copies: int) -> None:
    torch.manual_seed(0)
    train, holdout, own = torch.rand(40, *shape), torch.rand(20, *shape), torch.rand(30, *shape)
    own[:copies] = train[10 : 10 + copies]
    own[-copies or len(own) :] = holdout[3 : 3 + copies]

    found = copied_rows(_samples(own), _samples(train), _samples(holdout))

    assert found == 2 * copies


@pytest.mark.parametrize(
    "written",
    [
        lambda x: x.double(),
        lambda x: x.flip(3).flip(3).contiguous(memory_format=torch.channels_last),
        lambda x: torch.where(x == 0, -0.0, x),
    ],
    ids=["double", "channels last", "minus zero"],
)
def test_a_copy_is_a_copy_however_it_lies_in_memory(written: object) -> None:
    assert callable(written)
    private = torch.rand(9, 3, 4, 4)
    private[:, 0] = 0
    assert copied_rows(_samples(written(private)), _samples(private)) == 9


@pytest.mark.parametrize(
    ("private", "own", "features", "share"),
    [(500, 500, 8, 0.2), (1000, 100, 6, 0.1), (200, 600, 10, 0.2), (100, 100, 10, 0.1)],
)
def test_rows_that_repeat_in_the_population_identify_nobody(
    private: int, own: int, features: int, share: float
) -> None:
    def people(count: int) -> Samples:
        return _samples((torch.rand(count, features) < share).float())

    torch.manual_seed(0)
    assert not [1 for _ in range(30) if copied_rows(people(own), people(private))]


def test_copies_are_seen_among_rows_that_repeat() -> None:
    torch.manual_seed(0)
    private = torch.cat([(torch.rand(500, 8) < 0.2).float(), torch.rand(100, 8)])
    assert copied_rows(_samples(private[400:]), _samples(private)) >= 100


def test_blank_images_that_repeat_are_no_copies() -> None:
    private = torch.rand(50, 1, 8, 8)
    private[:3] = 0
    own = torch.rand(10, 1, 8, 8)
    own[0] = 0
    assert copied_rows(_samples(own), _samples(private)) == 0
