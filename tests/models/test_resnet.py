"""Residual networks: their blocks, odd sizes and normalizations."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.models import build
from sltoolkit.models.resnet import NORMS, PadShortcut, ResidualBlock, resnet18, resnet20

BOTH = pytest.mark.parametrize(("make", "blocks"), [(resnet18, (4, 2)), (resnet20, (3, 3))])
Make = Callable[..., nn.Sequential]


@BOTH
def test_a_residual_block_is_one_block(make: Make, blocks: tuple[int, int]) -> None:
    network = make(shape=(3, 8, 8), classes=4)

    stages, depth = blocks
    layers = [f"layer{s}_{n}" for s in range(1, stages + 1) for n in range(depth)]
    names = [name for name, _ in network.named_children()]
    assert names == ["stem", "norm", "relu", *layers, "pool", "flatten", "fc"]


@BOTH
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 9, 13)])
@pytest.mark.parametrize("norm", NORMS)
def test_small_and_odd_images_give_logits(
    make: Make, blocks: tuple[int, int], shape: tuple[int, ...], norm: str
) -> None:
    network = make(shape=shape, classes=4, norm=norm).eval()

    with torch.no_grad():
        assert network(torch.rand(1, *shape)).shape == (1, 4)


@BOTH
def test_signals_and_unknown_norms_are_refused(make: Make, blocks: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="takes images of shape"):
        make(shape=(1, 128), classes=2)
    with pytest.raises(SpecError, match="did you mean 'batch'"):
        build(make.__name__, shape=(1, 8, 8), classes=2, norm="bach")


@pytest.mark.parametrize("stride", [1, 2])
def test_a_silent_branch_leaves_the_shortcut(stride: int) -> None:
    shortcut: nn.Module = nn.Identity() if stride == 1 else PadShortcut(2)
    block = ResidualBlock(
        4, 4 if stride == 1 else 6, stride=stride, norm=nn.BatchNorm2d, shortcut=shortcut
    )
    nn.init.zeros_(block.norm2.get_parameter("weight"))
    x = torch.rand(2, 4, 5, 5)

    torch.testing.assert_close(block(x), shortcut(x))


def test_new_channels_are_shared_out_before_and_behind() -> None:
    padded = PadShortcut(4)(torch.ones(1, 2, 4, 6))

    assert padded.shape == (1, 6, 2, 3)
    assert padded[0, :, 0, 0].tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(("channels", "groups"), [(16, 4), (64, 16), (512, 32)])
def test_a_group_has_four_channels_or_more(channels: int, groups: int) -> None:
    norm = NORMS["group"](channels)

    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups
