"""What is checked of attacks on gradients, with each attack, in the attack's own file."""

from typing import Any

import torch
from dlg_batch import zhu as sigmoid_net
from torch import nn

import sltoolkit as sl
from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim
from support.updates import UNTRAINED


def untrained_on(data: Any, make: Any, count: int, *, batch: int = 1) -> Victim:
    return sl.train(
        make, data, cut=1, protocol=sl.LargeBatchSGD(clients=2), training=UNTRAINED,
        targets=sl.Targets(count=count, batch=batch),
    )  # fmt: skip


def check_batch_of_sigmoid_network(attack: Any, data: Any) -> None:
    """The attack finds samples behind a random network of sigmoids, with the updates alone."""
    result = sl.attack(untrained_on(data, sigmoid_net, 2), attack)
    assert result.verdict.knowledge == ("updates",)
    assert result.verdict.scores["mse"].max() < 1e-3


def check_inputs_of_shape(attack: Any, shape: tuple[int, ...]) -> None:
    """The attack finds a sample of any shape behind a random network."""
    with Stream(1).scope():
        size = torch.Size(shape).numel()
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 40), nn.Sigmoid(), nn.Linear(40, 20), nn.Sigmoid(),
            nn.Linear(20, 3),
        )  # fmt: skip
        x, y = torch.rand(30, *shape), torch.arange(30) % 3
    ids = torch.arange(30)
    parts = [Samples(x=x[i::3], y=y[i::3], ids=ids[i::3], groups=ids[i::3]) for i in range(3)]
    data = sl.data.Split(
        name="shapes", private_train=parts[0], private_holdout=parts[1], aux=parts[2],
        classes=("a", "b", "c"),
    )  # fmt: skip
    targets = sl.Targets(count=1, labels=2, hints=0)
    victim = sl.train(
        network, data, cut=3, protocol=sl.LargeBatchSGD(), training=UNTRAINED, targets=targets
    )
    assert sl.attack(victim, attack).verdict.scores["mse"].max() < 1e-2
