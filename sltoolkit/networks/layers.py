"""Layers for maps (C, H, W), signals (C, L) and vectors (d,) alike: a shape's length says which."""

from collections.abc import Sequence
from math import ceil, floor, log2, trunc
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError

_CONVOLUTIONS = {2: nn.Conv1d, 3: nn.Conv2d}


def check_shape(shape: Sequence[int], what: str) -> None:
    """Refuse what is neither a map nor a signal nor a vector.

    Raises:
        SpecError: with `what` the shape is of.
    """
    if len(shape) not in (1, 2, 3) or min(shape, default=0) < 1:
        raise SpecError(f"{what} must have shape (C, H, W), (C, L) or (d,), got {tuple(shape)}")


def mixing(rank: int, channels: int, out: int, *, stride: int = 1, bias: bool = True) -> nn.Module:
    """A convolution over 3 neighbors (to ceil(n / stride) of n places); for vectors, linear."""
    if rank == 1:
        return nn.Linear(channels, out, bias=bias)
    return _CONVOLUTIONS[rank](channels, out, 3, stride=stride, padding=1, bias=bias)


def normalizing(rank: int, channels: int) -> nn.Module:
    """BatchNorm, per channel."""
    return nn.BatchNorm2d(channels) if rank == 3 else nn.BatchNorm1d(channels)


def strided(sides: Sequence[int], stride: int) -> tuple[int, ...]:
    """The sides of what `mixing` makes of places with these sides; none for a vector."""
    return tuple(ceil(side / stride) for side in sides)


def halvings(large: Sequence[int], small: Sequence[int]) -> int:
    """How often sides were halved on the way to smaller ones, as far as they tell.

    Odd sides are halved upwards, as layers with padding do it: 9 to 5, 25 to 7. Of even ones, what
    convolutions without padding cut off is taken for the rest: 28 to 4 are two halvings (LeNet's),
    though three upwards (a padded network's) would fit, too.
    """
    ratio = min(side / other for side, other in zip(large, small, strict=True))
    times = max(0, floor(log2(ratio)))
    upwards = strided(large, 2 ** (times + 1)) == tuple(small)
    return times + 1 if upwards and any(side % 2 for side in large) else times


def doubling(rank: int, channels: int, out: int) -> nn.Module:
    """A transposed convolution from n places to 2 n."""
    kind = nn.ConvTranspose2d if rank == 3 else nn.ConvTranspose1d
    return kind(channels, out, 3, stride=2, padding=1, output_padding=1)


def centered(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Maps or signals (B, C, ...) padded with zeros, or cropped, to sides, equally at both ends.

    Of an odd number the larger half comes last, so that cropping takes off what padding put on.
    """
    if x.shape[2:] == tuple(sides):
        return x
    missing = [side - have for side, have in zip(sides, x.shape[2:], strict=True)]
    ends = [(trunc(gap / 2), gap - trunc(gap / 2)) for gap in reversed(missing)]
    return functional.pad(x, [amount for pair in ends for amount in pair])


@final
class Center(nn.Module):
    """`centered`, as a layer: what convolutions without padding cut off, so that cells keep place.

    Maps leave in channels-last, in which narrow convolutions train twice as fast on a CPU.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C, *sides)."""
        x = centered(x, self.sides)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
