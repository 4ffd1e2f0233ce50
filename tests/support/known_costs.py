"""Runs on tiny data whose costs are known, for the tests of what is measured."""

from dataclasses import replace

from torch import nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol
from sltoolkit.streams import Stream
from sltoolkit.training.measured import Measured
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.message import Kind
from support.tiny import CLASSES, EPOCHS, Q1, Q2, SGD, data, network

BATCHES = replace(SGD, batch_size=4)  # so that no client of 2 or 3 has a batch of one sample
STEADY = EPOCHS - 1
HEAD, REST, ALL = 24, 165 + 10 + 18, 217  # parameters: 1*2*9 + 2 + 4, 32*5 + 5 + 10 + 5*3 + 3
AUXILIARY = Q1 * CLASSES + CLASSES  # pooling doesn't change smashed data of 2x4x4
HEAD_BUFFERS, REST_BUFFERS = 2 * 2 + 1, 2 * 5 + 1  # BatchNorm's statistics and its counter


def ran(
    protocol: Protocol, *, training: Training | None = BATCHES,
    parts: tuple[nn.Module, ...] | None = None, defense: Defense | None = None,
) -> Run:  # fmt: skip
    """A finished run of the protocol."""
    run = seat_parties(
        network(protocol.parts) if parts is None else parts, data(), protocol=protocol,
        defense=defense or NoDefense(), training=training, rng=Stream(0),
    )  # fmt: skip
    run_phases(run, EPOCHS)
    return run


def scalars(costs: Measured, *, kinds: set[Kind], epoch: int = STEADY) -> float:
    """The payload of these kinds in numbers; each has 8 bytes here."""
    return costs.sent(epoch=epoch, kinds=kinds) / 8


def blocks(parts: int) -> tuple[nn.Module, ...]:
    """Linear layers that fit any block of the 6 columns, with 4 values per party and sample."""
    with Stream(1).scope():
        head = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).double()
        middle, last = nn.Sequential(nn.Tanh(), nn.Linear(4, Q2)), nn.Linear(Q2, CLASSES)
    rest = (middle.double(), last.double())
    return (head, *rest) if parts == 3 else (head, nn.Sequential(*rest))
