"""What an attacker holds when its training rehearsal begins."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.streams import Stream
from support.toys import SHAPE, split

CODES = (4, 8, 8)
TASK = Task(input_shape=SHAPE, smashed_shape=CODES, classes=3)


def client(stream: Stream) -> nn.Module:
    with stream.scope():
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


def setup(n: int = 30, *, of: int = 30) -> TrainingSetup:
    own = split(aux=of).aux
    return TrainingSetup(
        aux=Aux(x=own.x[:n], y=own.y[:n]), task=TASK, client_arch=client, mechanism=None
    )


def first(
    *, labels: bool = True, network: bool = True, seed: int = 0, codes: tuple[int, ...] = CODES
) -> BatchView:
    g = torch.Generator().manual_seed(seed)
    messages: dict[Any, Tensor] = {("smashed", "in"): torch.rand(8, *codes, generator=g)}
    if labels:
        messages["labels", "in"] = torch.arange(8) % 3
    with Stream(seed).scope():
        last = nn.Linear(math.prod(codes), 3 if labels else 5)
        layers = nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), last
        server = nn.Sequential(*layers).eval().requires_grad_(False)
    return BatchView(
        messages=messages, ids=torch.arange(8), step=0, epoch=0,
        network=(lambda: server) if network else None,
    )  # fmt: skip
