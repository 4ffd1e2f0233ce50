"""A memory format changes only rounding, however a gradient is put together."""

from dataclasses import replace

import pytest
import torch
from protocol_epochs import CLIENTS, CUTS
from split_epoch import random_split
from torch import Tensor, nn

from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import seat_parties, with_format

pytestmark = pytest.mark.golden


def trained(name: str, training: Training) -> Tensor:
    """All weights after an epoch in float64."""
    data = random_split(96, (3, 28, 28))
    data = replace(data, private_train=replace(data.private_train, x=data.private_train.x.double()))
    with Stream(0).scope():
        whole = models.build("lenet", shape=data.shape, classes=10).double()
    parts = models.cut(whole, CUTS.get(name, ("relu2",)))
    run = seat_parties(
        parts, with_format(parts, data, training), protocol=PROTOCOLS[name](
            clients=CLIENTS.get(name, 2)
        ), defense=NoDefense(), training=training, rng=Stream(0), ears=[],
    )  # fmt: skip
    run.protocol.epoch(run.cast, Clock(), "train")
    clients, server = run.protocol.deploy(run.cast, run.data.private_train)
    networks = [*(net for c in clients for net in (c.client, *c.hops)), server]
    return torch.cat([w.detach().flatten() for net in networks for w in net.parameters()])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", [n for n, kind in PROTOCOLS.items() if kind.learns])
def test_channels_last_trains_the_same_network(name: str, optimizer: str) -> None:
    training = Training(batch_size=16, optimizer=optimizer, lr=0.01)
    plain = trained(name, training)
    last = trained(name, replace(training, channels_last=True))
    torch.testing.assert_close(last, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_optimizer_reads_a_gradient_of_another_layout_right(optimizer: str) -> None:
    gradient = torch.arange(24.0).reshape(2, 3, 2, 2)
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        layer = nn.Conv2d(3, 2, 2, bias=False)
        layer.weight = nn.Parameter(torch.zeros(2, 3, 2, 2).to(memory_format=layout))
        layer.weight.grad = gradient.clone()
        chosen = Training(optimizer=optimizer, lr=0.1).optimizer_for(layer)
        assert chosen is not None
        chosen.step()
        moved.append(layer.weight.detach())
    torch.testing.assert_close(moved[1], moved[0])
