"""Layers for maps (C, H, W), signals (C, L) and vectors (d,); the length of a shape says which."""

from collections.abc import Sequence
from math import ceil, floor, log2, trunc
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError

_CONVOLUTIONS = {2: nn.Conv1d, 3: nn.Conv2d}


def check_shape(shape: Sequence[int], what: str) -> None:
    """Refuse a shape that is not that of a map, a signal or a vector.

    Args:
        shape: the shape to check.
        what: what has this shape, for the message.

    Raises:
        SpecError: saying what was expected and what was found.
    """
    if len(shape) not in (1, 2, 3) or min(shape, default=0) < 1:
        raise SpecError(f"{what} must have shape (C, H, W), (C, L) or (d,), got {tuple(shape)}")


def mixing(rank: int, channels: int, out: int, *, stride: int = 1, bias: bool = True) -> nn.Module:
    """A convolution over 3 neighbors, from n to ceil(n / stride) places; linear for vectors."""
    if rank == 1:
        return nn.Linear(channels, out, bias=bias)
    return _CONVOLUTIONS[rank](channels, out, 3, stride=stride, padding=1, bias=bias)


def normalizing(rank: int, channels: int) -> nn.Module:
    """BatchNorm per channel."""
    return nn.BatchNorm2d(channels) if rank == 3 else nn.BatchNorm1d(channels)


def strided(sides: Sequence[int], stride: int) -> tuple[int, ...]:
    """The sides of `mixing`'s output for an input with these sides; empty for a vector."""
    return tuple(ceil(side / stride) for side in sides)


def halvings(large: Sequence[int], small: Sequence[int]) -> int:
    """How often a network halved the `large` sides to reach the `small` ones, as far as they tell.

    If a side is odd, each halving rounds up where that fits, as layers with padding do: 9 to 5, 25
    to 7. If all sides are even, the rest is taken for what convolutions without padding cut off:
    28 to 4 counts as two halvings (LeNet's), although three halvings that round up (those of a
    network with padding) would fit, too.
    """
    ratio = min(side / other for side, other in zip(large, small, strict=True))
    times = max(0, floor(log2(ratio)))
    upwards = strided(large, 2 ** (times + 1)) == tuple(small)
    return times + 1 if upwards and any(side % 2 for side in large) else times


def doubling(rank: int, channels: int, out: int) -> nn.Module:
    """A transposed convolution from n to 2 n places per side."""
    kind = nn.ConvTranspose2d if rank == 3 else nn.ConvTranspose1d
    return kind(channels, out, 3, stride=2, padding=1, output_padding=1)


def centered(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Maps or signals (B, C, ...), padded with zeros or cropped to these sides at both ends.

    If the difference is odd, the larger half is at the end, so that cropping undoes padding.
    """
    if x.shape[2:] == tuple(sides):
        return x
    missing = [side - have for side, have in zip(sides, x.shape[2:], strict=True)]
    ends = [(trunc(gap / 2), gap - trunc(gap / 2)) for gap in reversed(missing)]
    return functional.pad(x, [amount for pair in ends for amount in pair])


@final
class Center(nn.Module):
    """`centered` as a layer; it restores what convolutions without padding cut off.

    Maps leave in the format channels-last, in which narrow convolutions train twice as fast on a
    CPU.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C, *sides)."""
        x = centered(x, self.sides)
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
