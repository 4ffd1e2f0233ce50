"""Small trainings on real digits behind a defense."""

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties

EPOCHS = 4


def parts(protocol: Protocol) -> tuple[nn.Module, ...]:
    with Stream(0).scope():
        head = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        middle = nn.Sequential(nn.Flatten(), nn.Linear(128, 32), nn.ReLU())
        tail = nn.Linear(32, 10)
    return (head, middle, tail) if protocol.parts == 3 else (head, nn.Sequential(middle, tail))


def trained(
    defense: Defense, data: Split, protocol: Protocol | None = None, epochs: int = EPOCHS
) -> Run:
    protocol = Vanilla() if protocol is None else protocol
    run = seat_parties(
        parts(protocol),
        data,
        protocol=protocol,
        defense=defense,
        training=Training(epochs=epochs, batch_size=25, lr=5e-3),
        rng=Stream(1),
    )
    run_phases(run, epochs)
    return run


def weights(run: Run) -> tuple[Tensor, Tensor]:
    """All weights of the deployed client, and of the server."""
    (member,), server = deploy(run)
    client, server_side = (
        torch.cat([t.flatten() for t in m.state_dict().values()]) for m in (member.client, server)
    )
    return client, server_side
