"""The gradient where a tensor was received, for networks that work in place and others."""

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.parties.received import Received, may_work_in_place

EITHER = pytest.mark.parametrize("in_place", [True, False])


def received() -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


@EITHER
def test_the_gradient_is_autograds(*, in_place: bool) -> None:
    entry = Received(received(), in_place=in_place)

    (entry.tensor.square() * 3).sum().backward()

    torch.testing.assert_close(entry.gradient(), 6 * received())


def test_a_first_layer_may_overwrite_what_was_received() -> None:
    entry = Received(received(), in_place=True)

    nn.functional.relu_(entry.tensor).sum().backward()

    assert torch.equal(entry.gradient(), (received() > 0).float())


@EITHER
def test_where_nothing_depends_on_it_the_gradient_is_zero(*, in_place: bool) -> None:
    entry = Received(received(), in_place=in_place)

    assert torch.equal(entry.gradient(), torch.zeros(4, 3))


@EITHER
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_memory_format_are_kept(dtype: torch.dtype, *, in_place: bool) -> None:
    z = torch.rand(2, 3, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last)

    entry = Received(z.clone(), in_place=in_place)
    entry.tensor.sum().backward()

    assert torch.equal(entry.tensor.detach(), z)
    assert entry.tensor.stride() == z.stride()
    assert entry.gradient().dtype == dtype


class _Own(nn.Module):
    pass


@pytest.mark.parametrize(
    ("network", "may"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()), False),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(inplace=True)), True),
        (nn.Sequential(nn.Linear(1, 1), _Own()), True),
        (nn.Sequential(nn.Sequential(nn.Dropout(inplace=True))), True),
    ],
    ids=["plain", "told to", "of another's", "deep inside"],
)
def test_only_torchs_own_layers_are_known_not_to_work_in_place(
    network: nn.Module, *, may: bool
) -> None:
    assert may_work_in_place(network) is may
