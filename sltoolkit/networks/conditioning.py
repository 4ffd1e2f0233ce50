"""Labels as a further input of a network that takes smashed data or images."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from sltoolkit.networks.layers import check_shape

EMBEDDING = 50
"""Values that a label is embedded into, as in SDAR's public code."""


class LabelChannel(nn.Module):
    """Appends a channel that a label is drawn on: an embedding, spread linearly over the places.

    Zhu et al. 2025 (SDAR, NDSS). Of a vector (d,), which has no places, d values are appended.

    Args:
        shape: of one input, (C, H, W), (C, L) or (d,).
        classes: number of labels.

    Attributes:
        out: of one output, (C + 1, ...), or (2 d,).

    Raises:
        SpecError: for another shape.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        check_shape(shape, "what a label is appended to")
        channels, *sides = shape
        self._drawn = (1, *sides) if sides else (channels,)
        self.out = (channels + self._drawn[0], *sides)
        self.embed = nn.Embedding(classes, EMBEDDING)
        self.spread = nn.Linear(EMBEDDING, prod(self._drawn))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Inputs (B, C, ...) and labels (B,) to (B, C + 1, ...)."""
        drawn = self.spread(self.embed(y)).view(len(x), *self._drawn)
        return torch.cat([x, drawn.to(x.dtype)], dim=1)


class Conditioned(nn.Module):
    """A network that sees labels (B,) as a further channel of its input (B, ...).

    Args:
        channel: what draws them.
        body: takes inputs of `channel.out`.
    """

    def __init__(self, channel: LabelChannel, body: nn.Module) -> None:
        super().__init__()
        self.channel, self.body = channel, body

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """What the body makes of inputs (B, ...) and labels (B,)."""
        out: Tensor = self.body(self.channel(x, y))
        return out
