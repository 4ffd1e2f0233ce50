"""Weights that are given, and stay where others are drawn anew.

Clients with private networks each draw weights of their own. What a user gave is no draw: a network
object isn't redrawn at all, and in a network that a function or a registered name built, frozen
weights (`requires_grad=False`, such as a pretrained backbone) are kept.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sltoolkit.models.resize import reinitialize


def frozen_weights(network: nn.Module) -> frozenset[str]:
    """The names of the weights that don't learn."""
    named = network.named_parameters(remove_duplicate=False)
    return frozenset(name for name, weight in named if not weight.requires_grad)


def redraw(module: nn.Module) -> None:
    """Draw the weights that learn anew, from the scope's generator; frozen layers stay as they are.

    A layer whose weights are all frozen keeps its buffers, too (BatchNorm's running statistics).
    """
    kept = [(tensor, tensor.detach().clone()) for tensor in _given(module)]
    reinitialize(module)
    with torch.no_grad():
        for tensor, value in kept:
            tensor.copy_(value)


def _given(module: nn.Module) -> Iterator[Tensor]:
    for layer in module.modules():
        weights = list(layer.parameters(recurse=False))
        frozen = [weight for weight in weights if not weight.requires_grad]
        yield from frozen
        if frozen and len(frozen) == len(weights):
            yield from layer.buffers(recurse=False)
