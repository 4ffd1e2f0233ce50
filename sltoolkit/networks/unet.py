"""The image prior: a small U-Net that draws an image from fixed noise.

It follows Ulyanov, Vedaldi and Lempitsky 2018, figure 21. On the way down, each level halves the
resolution with a convolution of stride 2 and adds another convolution. A 1x1 convolution carries a
few channels across. The way up doubles the resolution and has two convolutions. Each convolution is
followed by a normalization and a leaky ReLU.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SKIPPED = 4
"""How many channels are carried across a level."""

_COARSEST = 4
"""Levels are added while the shortest side of the coarsest map stays at least this long."""


class Level(nn.Module):
    """One level of the U-Net, with the coarser levels inside.

    Each image is normalized by itself (as by the paper's BatchNorm, whose batches hold one image).

    Args:
        entering: the number of channels that come in.
        width: the number of channels that leave.
        sides: the sides of the maps that come in; halves are rounded up.
    """

    def __init__(self, entering: int, width: int, sides: Sequence[int]) -> None:
        super().__init__()
        self.across = _block(entering, SKIPPED, kernel=1)
        self.down = nn.Sequential(_block(entering, width, stride=2), _block(width, width))
        half = [(side + 1) // 2 for side in sides]
        deeper = min(half) >= 2 * _COARSEST
        self.inside: nn.Module = Level(width, width, half) if deeper else nn.Identity()
        self.join = nn.GroupNorm(width + SKIPPED, width + SKIPPED)
        self.up = nn.Sequential(_block(width + SKIPPED, width), _block(width, width, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, entering, H, W) -> (N, width, H, W)."""
        low = self.inside(self.down(x))
        low = functional.interpolate(low, scale_factor=2.0, mode="nearest")
        low = low[..., : x.shape[2], : x.shape[3]]  # odd sides were rounded up
        return cast(Tensor, self.up(self.join(torch.cat([low, self.across(x)], 1))))


def skip_network(image_shape: Sequence[int], *, noise: int = 32, width: int = 16) -> nn.Module:
    """A U-Net from noise (N, noise, H, W) to images (N, C, H, W) in [0, 1].

    The initialization draws from torch's global generator: call it in a `Stream` scope.

    Args:
        image_shape: (C, H, W), with sides of at least 8.
        noise: channels of the noise.
        width: channels at every level.
    """
    channels, *sides = image_shape
    return nn.Sequential(Level(noise, width, sides), nn.Conv2d(width, channels, 1), nn.Sigmoid())


def _block(entering: int, leaving: int, *, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, kernel, stride, padding=kernel // 2),
        nn.GroupNorm(leaving, leaving),
        nn.LeakyReLU(0.2),
    )
