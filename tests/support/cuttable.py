"""Modules for tests of cutting."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.streams import Stream


class Block(nn.Module):
    """A residual block with a module used twice and functional operations at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.relu(self.norm(self.conv(self.relu(x)))) + x)


def make(factory: Callable[[], nn.Module]) -> nn.Module:
    with Stream(0).scope():
        return factory()


def nested() -> nn.Sequential:
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), Block(), nn.BatchNorm2d(4))
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3))
    return nn.Sequential(OrderedDict[str, nn.Module](features=features, classifier=head))


X = torch.rand(5, 1, 8, 8, generator=Stream(1).torch())
