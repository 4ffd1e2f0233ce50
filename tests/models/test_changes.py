"""What a forward pass changes in its own module."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.models.changes import changes, state_of


class _Held(nn.Module):
    counted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.BatchNorm1d(3)
        self.register_buffer("counted", torch.tensor([1.0, float("nan")]))
        self.plain, self.calls, self.last = torch.zeros(2), 0, None


def test_nothing_has_changed_at_first_and_the_mode_is_no_state() -> None:
    module = _Held()
    before = state_of(module)
    module.eval()

    assert changes(before, module) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counted", torch.tensor([2.0, float("nan")])),
        ("plain", torch.ones(2)),
        ("plain", object()),
        ("calls", 1),
        ("inner.running_mean", torch.ones(3)),
        ("inner.num_batches_tracked", torch.tensor(1)),
        ("inner.momentum", 0.2),
    ],
)
def test_whatever_changes_is_named(name: str, value: Any) -> None:
    module = _Held()
    before = state_of(module)
    path, _, field = name.rpartition(".")

    setattr(module.get_submodule(path), field, value)

    assert changes(before, module) == [name]


def test_a_change_in_place_is_seen_and_a_memo_of_the_last_call_is_none() -> None:
    module = _Held()
    before = state_of(module)
    module.last = torch.ones(1)  # type: ignore[assignment]
    assert changes(before, module) == []

    module.counted += 1
    module.plain.mul_(0.5)  # still zeros

    assert changes(before, module) == ["plain", "counted"]


def test_a_tensor_that_moves_to_another_device_keeps_its_numbers() -> None:
    module = _Held()
    before = state_of(module)

    module.plain = module.plain.clone()

    assert changes(before, module) == []
