"""Early stopping, target by target."""

import pytest
import torch

from sltoolkit.adversary.plateau import Plateau, keep_rows


def test_progress_within_the_tolerance_is_none() -> None:
    plateau = Plateau(window=2, tolerance=0.1)

    plateau.moving(torch.tensor([1.0, 1.0]))
    plateau.moving(torch.tensor([0.95, 0.85]))  # the first has not fallen by a tenth
    last = plateau.moving(torch.tensor([0.95, 0.85]))

    assert last.tolist() == [False, True]


def test_slow_progress_counts_from_the_last_progress() -> None:
    # each step falls by less than the tolerance, several together by more
    plateau = Plateau(window=3, tolerance=0.1)
    losses = [0.96**i for i in range(20)]

    assert all(plateau.moving(torch.tensor([loss])).item() for loss in losses)


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_no_progress(lost: float) -> None:
    plateau = Plateau(window=2)

    moving = [plateau.moving(torch.tensor([lost, 1.0 / (i + 1)])) for i in range(2)]

    assert moving[-1].tolist() == [False, True]


def test_steps_between_calls_count() -> None:
    plateau = Plateau(window=10)

    plateau.moving(torch.ones(1))
    assert plateau.moving(torch.ones(1), steps=9).item()
    assert not plateau.moving(torch.ones(1), steps=1).item()


@pytest.mark.parametrize("rows", [torch.tensor([0, 2]), torch.tensor([True, False, True])])
def test_who_is_kept_remembers_its_own_progress(rows: torch.Tensor) -> None:
    plateau = Plateau(window=2)
    plateau.moving(torch.tensor([1.0, 1.0, 1.0]))
    plateau.moving(torch.tensor([1.0, 1.0, 0.5]))  # the first has stood still for one step

    plateau.keep(rows)

    assert plateau.moving(torch.tensor([1.0, 0.5])).tolist() == [False, True]


def test_keeping_before_the_first_loss_is_nothing_to_do() -> None:
    plateau = Plateau(window=1)

    plateau.keep(torch.tensor([0]))

    assert plateau.moving(torch.ones(3)).tolist() == [True, True, True]


def test_the_leaves_that_are_kept_take_the_places_of_the_old_ones() -> None:
    leaf = torch.arange(6.0).view(3, 2).requires_grad_()
    adam = torch.optim.Adam([leaf], lr=0.1)
    leaf.square().sum().backward()
    adam.step()
    before = leaf.detach().clone()

    (kept,) = keep_rows(adam, torch.tensor([2, 0]))

    assert adam.param_groups[0]["params"] == [kept]
    assert list(adam.state) == [kept]
    assert torch.equal(kept, before[[2, 0]])
    assert kept.requires_grad
    assert kept.is_leaf


def test_leaves_without_a_state_are_kept_as_well() -> None:
    leaf = torch.arange(3.0).requires_grad_()
    descent = torch.optim.SGD([leaf], lr=0.1)

    (kept,) = keep_rows(descent, torch.tensor([False, True, True]))

    assert kept.tolist() == [1.0, 2.0]
