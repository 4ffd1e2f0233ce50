"""How several parties' smashed data become one, and what stands for missing ones."""

import pytest
import torch

from sltoolkit.errors import ProtocolError
from sltoolkit.training.merging import MERGES, Imputer, Merge, MergeName

A, B = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 5.0]])


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ("concat", [1.0, -2.0, 3.0, 5.0]),
        ("sum", [4.0, 3.0]),
        ("mean", [2.0, 1.5]),
        ("max", [3.0, 5.0]),
        ("mul", [3.0, -10.0]),
    ],
)
def test_merges_by_hand(merge: MergeName, expected: list[float]) -> None:
    assert Merge(merge, [2, 2])(torch.cat([A, B], -1)).tolist() == [expected]


@pytest.mark.parametrize("merge", MERGES)
def test_one_party_alone_is_passed_on(merge: MergeName) -> None:
    assert torch.equal(Merge(merge, [2])(A), A)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("shape", [(0,), (3,), (3, 4, 5)], ids=["empty", "vectors", "maps"])
def test_batches_of_any_shape_are_merged_along_the_last_axis(
    merge: MergeName, shape: tuple[int, ...]
) -> None:
    z = torch.rand(*shape, 6)

    assert Merge(merge, [3, 3])(z).shape == (*shape, 6 if merge == "concat" else 3)


@pytest.mark.parametrize("merge", [m for m in MERGES if m != "concat"])
def test_unequal_blocks_can_only_stand_side_by_side(merge: MergeName) -> None:
    with pytest.raises(ProtocolError, match="blocks of features make them 3, 2 wide"):
        Merge(merge, [3, 2])
    assert torch.equal(Merge("concat", [3, 2])(torch.arange(5.0)[None]), torch.arange(5.0)[None])


def test_at_a_tie_one_party_gets_the_gradient() -> None:
    z = torch.ones(1, 4, requires_grad=True)

    Merge("max", [2, 2])(z).sum().backward()

    assert z.grad is not None
    assert sorted(z.grad.flatten().tolist()) == [0, 0, 1, 1]


def test_missing_data_are_zeros() -> None:
    joined = Imputer([2, 3], "zeros").join({0: A})

    assert joined.tolist() == [[1.0, -2.0, 0.0, 0.0, 0.0]]


def test_missing_data_are_the_mean_of_all_that_came_before() -> None:
    imputer = Imputer([2, 1], "mean")
    here = torch.zeros(3, 2)
    assert imputer.join({0: here})[:, 2].tolist() == [0.0, 0.0, 0.0]  # nothing came before

    imputer.join({0: here, 1: torch.tensor([[1.0], [2.0], [3.0]])})
    imputer.join({0: here[:1], 1: torch.tensor([[10.0]])})

    assert imputer.join({0: here})[:, 2].tolist() == [4.0, 4.0, 4.0]


def test_an_empty_batch_says_nothing() -> None:
    imputer = Imputer([1, 1], "mean")
    imputer.join({0: torch.tensor([[6.0]]), 1: torch.ones(1, 1)})

    imputer.join({0: torch.empty(0, 1), 1: torch.empty(0, 1)})

    assert imputer.join({1: torch.ones(1, 1)})[0, 0].item() == 6.0


def test_dtype_and_further_axes_are_those_of_the_present_parties() -> None:
    joined = Imputer([2, 3], "zeros").join({1: torch.ones(4, 5, 3, dtype=torch.float64)})

    assert joined.shape == (4, 5, 5)
    assert joined.dtype == torch.float64
