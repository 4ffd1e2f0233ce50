"""Labels as a further input of a network that takes smashed data or images."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from sltoolkit.networks.layers import check_shape

EMBEDDING = 50
"""The size of a label's embedding, as in SDAR's public code."""


class LabelChannel(nn.Module):
    """Appends a channel that shows a label: its embedding, mapped linearly to all places.

    The layer is that of Zhu et al. 2025 (SDAR, NDSS). A vector (d,) has no places; d values are
    appended to it.

    Args:
        shape: the shape of one input, (C, H, W), (C, L) or (d,).
        classes: the number of labels.

    Attributes:
        out: the shape of one output, (C + 1, ...) or (2 d,).

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
        channel: appends the labels to the input.
        body: the network; it takes inputs of the shape `channel.out`.
    """

    def __init__(self, channel: LabelChannel, body: nn.Module) -> None:
        super().__init__()
        self.channel, self.body = channel, body

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The body's output for inputs (B, ...) and labels (B,)."""
        out: Tensor = self.body(self.channel(x, y))
        return out
