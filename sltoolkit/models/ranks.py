"""Layers for maps (C, H, W), signals (C, L) and vectors (d,) alike: a shape's length says which."""

from collections.abc import Sequence
from math import ceil

from torch import nn

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
    """A convolution over 3 neighbours (to ceil(n / stride) of n places); for vectors, linear."""
    if rank == 1:
        return nn.Linear(channels, out, bias=bias)
    return _CONVOLUTIONS[rank](channels, out, 3, stride=stride, padding=1, bias=bias)


def normalising(rank: int, channels: int) -> nn.Module:
    """BatchNorm, per channel."""
    return nn.BatchNorm2d(channels) if rank == 3 else nn.BatchNorm1d(channels)


def strided(sides: Sequence[int], stride: int) -> tuple[int, ...]:
    """The sides of what `mixing` makes of places with these sides; none for a vector."""
    return tuple(ceil(side / stride) for side in sides)
