"""A small network for the digits, whose client a server hijacks."""

from collections import OrderedDict

from torch import nn


def network() -> nn.Sequential:
    """A network of a client (the first three blocks, two convolutions), a server and a tail."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(1, 16, 3, padding=1), norm=nn.BatchNorm2d(16), relu=nn.ReLU(),
        down=nn.Conv2d(16, 8, 3, stride=2, padding=1), cut=nn.ReLU(),
        flat=nn.Flatten(), hidden=nn.Linear(128, 32), features=nn.ReLU(), head=nn.Linear(32, 10),
    )  # fmt: skip
    return nn.Sequential(layers)
