"""Channels of smashed data: axis 1 of (B, C, H, W); for vectors (B, d) every feature is one."""

import math

from torch import Tensor


def pruned_count(ratio: float, channels: int) -> int:
    """floor(ratio * channels); the rounding of products such as 0.29 * 100 takes none away."""
    return math.floor(ratio * channels + 1e-9)


def per_channel(values: Tensor, z: Tensor) -> Tensor:
    """(C,) or (B, C) values in a shape that broadcasts over `z` (B, C, ...)."""
    return values.reshape(*values.shape, *[1] * (z.dim() - 2))


def zero_channels(z: Tensor) -> float:
    """The fraction of channels of (R, B, C, ...) that are exactly 0 in all positions."""
    positions = z.flatten(0, 1).unsqueeze(-1).flatten(2)
    return float((positions == 0).all(2).double().mean())
