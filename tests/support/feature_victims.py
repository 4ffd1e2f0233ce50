"""Victims with several parties on real digits, trained once for all tests."""

from collections import OrderedDict
from functools import cache
from typing import Any

import pytest
from torch import nn

import sltoolkit as sl
from sltoolkit.data.samples import Split
from sltoolkit.protocols import Protocol

QUICK = sl.Training(epochs=2, batch_size=50)
ASKED = sl.Targets(count=8, labels=60)
PROTOCOLS: list[Protocol] = [
    sl.Vertical(clients=3),
    sl.Vertical(clients=2, merge="mul", absent=0.3, impute="mean"),
    sl.ExtendedVanilla(clients=3),
    sl.MultiHop(hops=2),
    sl.MultiTask(clients=2),
]
NAMES = ["vertical", "mul", "extended", "multi_hop", "multi_task"]
EACH = pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)


def network() -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(1, 4, 3, padding=1), act=nn.Tanh(), flat=nn.Flatten(),
            fc1=nn.Linear(4 * 64, 32), act1=nn.Tanh(), fc2=nn.Linear(32, 16), act2=nn.Tanh(),
            fc3=nn.Linear(16, 10),
        )
    )  # fmt: skip


def cut_of(protocol: Protocol) -> list[str]:
    return ["act", "act1", "act2"][: protocol.parts - 1]


def train(protocol: Protocol, **given: Any) -> sl.Victim:
    return sl.train(
        network, digits(), cut=cut_of(protocol), protocol=protocol, training=QUICK, targets=ASKED,
        **given,
    )  # fmt: skip


@cache
def undefended(protocol: Protocol) -> sl.Victim:
    return train(protocol)


@cache
def digits() -> Split:
    return sl.data.load("digits", train=300, holdout=100, aux=100)
