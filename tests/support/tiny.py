"""Tiny victims in float64: their data, their network, their messages, and their oracle."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.testing.toys import random_split
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties

N, EPOCHS, CLASSES = 22, 3, 3
Q1, Q2 = 2 * 4 * 4, 5  # values per sample at the first and the second cut
SGD = Training(epochs=EPOCHS, batch_size=5, lr=0.1, optimizer="sgd")
MOMENTUM = replace(SGD, momentum=0.9, weight_decay=1e-3)
ADAM = Training(epochs=EPOCHS, batch_size=5, lr=1e-2)


def data() -> Split:
    return random_split(N, 4, 4, shape=(1, 6, 6), classes=CLASSES, dtype=torch.float64)


def network(parts: int) -> tuple[nn.Module, ...]:
    with Stream(1).scope():
        head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh()).double()
        middle = nn.Sequential(nn.Flatten(), nn.Linear(Q1, Q2), nn.BatchNorm1d(Q2)).double()
        tail = nn.Sequential(nn.Tanh(), nn.Linear(Q2, CLASSES)).double()
    return (head, middle, tail) if parts == 3 else (head, nn.Sequential(middle, tail))


def play(
    protocol: Protocol,
    training: Training | None = SGD,
    *,
    parts: tuple[nn.Module, ...] | None = None,
    samples: Split | None = None,
    defense: Defense | None = None,
    seed: int = 0,
) -> tuple[Run, RecordingEar]:
    """A finished run, and all of its messages."""
    ear = RecordingEar()
    run = seat_parties(
        parts or network(protocol.parts),
        samples or data(),
        protocol=protocol,
        defense=defense or NoDefense(),
        training=training,
        rng=Stream(seed),
        ears=[ear],
    )
    run_phases(run, EPOCHS if training is None else training.epochs)
    return run, ear


def flat(*modules: nn.Module) -> Tensor:
    """All weights and buffers of the modules as one vector."""
    return torch.cat([t.double().flatten() for m in modules for t in m.state_dict().values()])


def trained(run: Run) -> Tensor:
    """Weights and buffers of the deployed network, in the order of the whole network."""
    members, server = deploy(run)
    tail = members[0].tail
    return flat(members[0].client, server, *([tail] if tail is not None else []))


def centralized(batches: list[Tensor], training: Training, smoothing: float = 0.0) -> Tensor:
    whole = nn.Sequential(*copy.deepcopy(network(2)))
    optimizer = training.optimizer_for(whole)
    assert optimizer is not None
    samples = data().private_train
    for ids in batches:
        x, y = samples.x[ids - 1000], samples.y[ids - 1000]
        loss = nn.functional.cross_entropy(whole(x), y, label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flat(whole)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


PROTOCOLS = pytest.mark.parametrize(
    "protocol", [Vanilla(), Vanilla(labels_at="server"), UShaped()], ids=lambda p: repr(p)
)
