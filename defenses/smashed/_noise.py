"""Noise tensors drawn from a stream, and how noise is measured on what was sent."""

import torch
from torch import Tensor

from sltoolkit.streams import Stream


def gaussian_like(z: Tensor, rng: Stream) -> Tensor:
    """Independent N(0, 1) numbers of the shape, precision and device of `z`."""
    generator = rng.torch(z.device)
    return torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)


def laplace_like(z: Tensor, rng: Stream) -> Tensor:
    """Independent Laplace(0, 1) numbers (variance 2) of the shape, precision and device of `z`.

    Each is the difference of two exponentials, which is never infinite, unlike the logarithm of a
    uniform number.
    """
    generator = rng.torch(z.device)
    positive, negative = (torch.empty_like(z).exponential_(generator=generator) for _ in range(2))
    return positive - negative


def measured_std(clean: Tensor, sent: Tensor) -> float:
    """The standard deviation of `sent - clean` over all numbers."""
    return float((sent - clean).std(correction=0))
