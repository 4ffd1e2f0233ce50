"""Tiny networks, batches and oracles for the tests of the listeners that train a substitute."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Learner
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import Substitute
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.streams import Stream
from support.toys import SHAPE, split

CODES = (4, 6, 6)
CLASSES = 3
TASK = Task(input_shape=SHAPE, smashed_shape=CODES, classes=CLASSES)


def client(stream: Stream) -> nn.Module:
    """A client with BatchNorm, in float64."""
    with stream.scope():
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh()
        return nn.Sequential(*layers).double()


def server(out: int = CLASSES) -> nn.Module:
    """The server's replica, whose first layer works in place."""
    with Stream(1).scope():
        layers = nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), nn.Linear(144, out)
        return nn.Sequential(*layers).double().eval().requires_grad_(False)


def own_samples() -> Aux:
    """Toy images in float64."""
    held = split().aux
    return Aux(x=held.x.double(), y=held.y)


def before(*, arch: bool = True) -> TrainingSetup:
    return TrainingSetup(
        aux=own_samples(), task=TASK, client_arch=client if arch else None, mechanism=None
    )


def heard(network: nn.Module, *, labels: bool = True, seed: int = 0, rows: int = 8) -> BatchView:
    """One batch as the server hears it."""
    g = torch.Generator().manual_seed(seed)
    messages: dict[Any, Tensor] = {
        ("smashed", "in"): torch.randn(rows, *CODES, generator=g, dtype=torch.float64)
    }
    if labels:
        messages["labels", "in"] = torch.randint(CLASSES, (rows,), generator=g)
    ids = torch.arange(rows)
    return BatchView(messages=messages, ids=ids, step=0, epoch=0, network=lambda: network)


def without_dropout(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0


def twin(learner: Learner, lr: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A copy of a network, and torch's default Adam for it."""
    network = copy.deepcopy(learner.network)
    return network, torch.optim.Adam(network.parameters(), lr=lr)


def follow(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """Take the textbook step along a loss's gradient."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def bce(logits: Tensor, real: float) -> Tensor:
    """Binary cross-entropy, from its definition, of logits (B, 1) against one verdict."""
    p = torch.sigmoid(logits)
    return -(real * p.log() + (1 - real) * (1 - p).log()).mean()


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return -logits.log_softmax(1)[torch.arange(len(y)), y].mean()


def squared(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).mean()


def same(mine: nn.Module, reference: nn.Module) -> None:
    """Whether weights and buffers are equal up to rounding."""
    state = reference.state_dict()
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-9, atol=1e-11, msg=name)


def same_weights(mine: nn.Module, reference: nn.Module) -> None:
    """Whether weights are equal up to rounding; BatchNorm's unused statistics may differ."""
    for own, other in zip(mine.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


def draws(substitute: Substitute, rows: int = 8) -> tuple[Tensor, Tensor]:
    """Fixed own samples in place of random ones."""
    own = substitute.aux
    return own.x[:rows], own.y[:rows]
