"""Victims whose network begins with a linear layer, for the exact inversions."""

from collections import OrderedDict
from typing import Any

from torch import nn

import sltoolkit as sl
from sltoolkit.parties.settings import Training
from sltoolkit.training.victim import Victim
from support import toys

SGD = Training(epochs=2, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


def linear(bias: bool = True, hidden: int = 12) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(), fc=nn.Linear(64, hidden, bias=bias), relu=nn.ReLU(),
        drop=nn.Dropout(0.2), fc2=nn.Linear(hidden, 8), relu2=nn.ReLU(),
        head=nn.Linear(8, toys.CLASSES),
    )  # fmt: skip
    return nn.Sequential(layers)


def victim(protocol: sl.training.protocol.Protocol, **options: Any) -> Victim:
    settings: dict[str, Any] = {
        "cut": "relu", "training": SGD, "targets": toys.TARGETS, "model": linear, **options
    }  # fmt: skip
    return sl.train(settings.pop("model"), toys.split(), protocol=protocol, **settings)
