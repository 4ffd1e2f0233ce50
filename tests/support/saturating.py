"""A defense without random draws, and a network with that defense built in."""

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.wire.turn import Turn


class Saturating(Defense):
    """Distorts smashed data, without random draws."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return torch.tanh(3 * z.flip(1))


class Behind(nn.Module):
    """A network with that defense built in."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(3 * self.network(x).flip(1))
