"""Clients that may compute together, on tiny data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV1, SplitFedV3
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.wire import Ear
from support.tiny import flat

Played = tuple[Run, RecordingEar, list[Tensor]]
PROTOCOLS = [
    SplitFedV1(clients=3),  # 3 do not divide 22: shards of 8, 7, 7
    SplitFedV1(clients=4, participation=0.75, dropout=0.5),
    SplitFedV3(clients=3),
]


def network(*extra: nn.Module) -> tuple[nn.Module, ...]:
    with Stream(1).scope():
        head = nn.Sequential(nn.Conv2d(1, 2, 3), *extra, nn.Tanh())
        rest = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 5), nn.Linear(5, 3))
    return head, rest


def play(
    protocol: Protocol, training: Training, data: Split, *,
    defense: Defense | None = None, parts: tuple[nn.Module, ...] | None = None,
    ears: Sequence[Ear] = (),
) -> Played:  # fmt: skip
    log = RecordingEar()
    x = data.private_train.x
    run = seat_parties(
        tuple(part.to(x) for part in parts or network()), data, protocol=protocol,
        defense=defense or NoDefense(), training=training, rng=Stream(0), ears=[log, *ears],
    )  # fmt: skip
    history = run_phases(run, training.epochs)
    members, server = deploy(run)
    return run, log, [flat(*(m.client for m in members), server), torch.tensor(history)]
