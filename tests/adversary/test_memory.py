"""How many targets fit: the allocations of a step are counted, and shared weights cancel out."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sltoolkit.adversary import memory
from sltoolkit.adversary.memory import STATES, budget, fitting

VALUES = 1000
BYTES = 4 * VALUES  # bytes of a leaf in float32


def stepping(*, shared: int = 0) -> Callable[[int], list[Tensor]]:
    """A step that makes a leaf and a tensor of its size per target, and `shared` values in all."""

    def step(count: int) -> list[Tensor]:
        leaf = torch.zeros(count, VALUES)
        torch.ones(shared)
        _ = leaf + 1
        return [leaf]

    return step


@pytest.mark.parametrize("shared", [0, 50 * VALUES])
@pytest.mark.parametrize("room", [1, 7, 30])
def test_as_many_descend_as_the_budget_holds(
    shared: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = (2 + STATES) * BYTES  # the leaf, its sum, and what the optimizer keeps of a leaf
    monkeypatch.setattr(memory, "CPU_BUDGET", room * each)

    assert fitting(100, 100, stepping(shared=shared)) == room


def test_at_least_one_descends_and_never_more_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "CPU_BUDGET", 1)
    assert fitting(100, 100, stepping()) == 1

    monkeypatch.setattr(memory, "CPU_BUDGET", 2**40)
    assert fitting(8, 100, stepping()) == 8


@pytest.mark.parametrize(("most", "count"), [(2, 100), (100, 2), (1, 1)])
def test_few_are_not_counted(most: int, count: int) -> None:
    def step(_: int) -> list[Tensor]:
        raise AssertionError("no step is needed")

    assert fitting(most, count, step) == most


def test_views_and_work_in_place_allocate_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(count: int) -> list[Tensor]:
        leaf = torch.zeros(count, VALUES)
        leaf.add_(1).view(count, -1).unsqueeze(0).mul_(2)
        return [leaf]

    monkeypatch.setattr(memory, "CPU_BUDGET", 10 * (1 + STATES) * BYTES)

    assert fitting(100, 100, step) == 10


def test_a_cpu_has_a_fixed_budget() -> None:
    assert budget(torch.device("cpu")) == memory.CPU_BUDGET
