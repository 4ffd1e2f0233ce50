"""Several clients on tiny data, and what is checked of them with each protocol."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import Tensor, nn

from sltoolkit.data.samples import Split
from sltoolkit.defenses import GaussianNoise
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run, seat_parties
from support.tiny import SGD, N, close, flat, play
from support.tiny import data as tiny_data

Make = Callable[..., Protocol]
FULL = replace(SGD, epochs=1, batch_size=N)


def parts(norm: bool = False) -> tuple[nn.Module, ...]:
    """A network without dropout and, by default, BatchNorm, so that samples don't interact."""
    with Stream(1).scope():
        middle = [nn.BatchNorm2d(2)] if norm else []
        head = nn.Sequential(nn.Conv2d(1, 2, 3), *middle, nn.Tanh()).double()
        rest = nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return head, rest


def run(
    protocol: Protocol, training: Training, *, data: Split | None = None, norm: bool = False,
    seed: int = 0,
) -> tuple[Run, RecordingEar]:  # fmt: skip
    return play(protocol, training, parts=parts(norm), samples=data, seed=seed)


def weights(seated: Run) -> Tensor:
    """The weights of the whole deployed network, in its order."""
    (member, *_), server = deploy(seated)
    return flat(member.client, *([member.tail] if member.tail is not None else []), server)


def one_big_step(training: Training = FULL) -> Tensor:
    """One step of centralized training on all samples."""
    whole, samples = nn.Sequential(*parts()), tiny_data().private_train
    optimizer = training.optimizer_for(whole)
    assert optimizer is not None
    nn.functional.cross_entropy(whole(samples.x), samples.y).backward()
    optimizer.step()
    return flat(whole)


def check_one_client_is_vanilla(protocol: Protocol, training: Training) -> None:
    vanilla = weights(run(Vanilla(), training)[0])
    close(weights(run(protocol, training)[0]), vanilla)


def check_one_step_is_one_large_batch_step(protocol: Protocol) -> None:
    close(weights(run(protocol, FULL)[0]), one_big_step())


def check_defense_of_smashed_data_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ProtocolError, match=r"GaussianNoise would be silently inert"):
        seat_parties(
            parts(), tiny_data(), protocol=protocol, defense=GaussianNoise(std=1.0), training=SGD,
            rng=Stream(0),
        )  # fmt: skip
