"""Seating the parties of a run: which party gets what, and what is refused."""

from dataclasses import replace

import pytest
import torch
from support import tiny
from support.networks import weights
from support.rounds import parts
from support.tiny import SGD, N
from support.toys import QUICK, differences, module_state, network, split
from torch import Tensor, nn

from sltoolkit import models
from sltoolkit.api import train
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties, with_format


@pytest.mark.golden
def test_batchnorm_with_a_batch_of_one_is_refused_before_training() -> None:
    head, rest = parts()
    vector = nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    with pytest.raises(ProtocolError, match=r"client 0 has 22 .* batches of 7 a batch of one"):
        seat_parties(
            (head, vector.double()), tiny.data(), protocol=Vanilla(), defense=NoDefense(),
            training=replace(SGD, batch_size=7), rng=Stream(0),
        )  # fmt: skip
    seat_parties(
        (head, rest), tiny.data(), protocol=Vanilla(), defense=NoDefense(),
        training=replace(SGD, batch_size=7), rng=Stream(0),
    )  # fmt: skip


@pytest.mark.golden
def test_parts_and_clients_that_do_not_fit_are_errors() -> None:
    def seat(protocol: Protocol, parts: int) -> Run:
        return seat_parties(
            tiny.network(parts), tiny.data(), protocol=protocol, defense=NoDefense(), training=SGD,
            rng=Stream(0),
        )  # fmt: skip

    with pytest.raises(ProtocolError, match=r"UShaped needs the network in 3 parts, got 2"):
        seat(UShaped(), 2)
    with pytest.raises(ProtocolError, match=r"Vanilla needs the network in 2 parts, got 3"):
        seat(Vanilla(), 3)
    with pytest.raises(ProtocolError, match=rf"{N + 1} clients can't share {N}"):
        seat(Vanilla(clients=N + 1), 2)
    with pytest.raises(SpecError, match="clients must be a whole number of at least 1, got 0"):
        Vanilla(clients=0)


def test_the_wrong_number_of_parts_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"UShaped needs the network in 3 parts, got 2.*2 cut"):
        train(network, split(), cut="drop", protocol=UShaped())


def test_the_given_networks_are_not_trained_in_place() -> None:
    parts = models.cut(network("batch"), "drop")
    before = [module_state(p) for p in parts]
    run = seat_parties(
        parts, split(), protocol=Vanilla(), defense=NoDefense(), training=QUICK, rng=Stream(0)
    )
    run_phases(run, 1)
    for part, state in zip(parts, before, strict=True):
        assert differences(state, module_state(part)) == []


def test_channels_last_changes_the_memory_format_and_not_the_result() -> None:
    data, exact = split(), Training(epochs=3, batch_size=16, lr=0.05, optimizer="sgd")
    runs = []
    for training in (exact, replace(exact, channels_last=True)):
        with Stream(0).scope():
            parts = models.cut(wide(), 1)
        placed = with_format(parts, data, training)
        run = seat_parties(
            parts, placed, protocol=Vanilla(), defense=NoDefense(), training=training, rng=Stream(0)
        )
        runs.append((run, run_phases(run, 3), placed))
    (plain, losses, _), (fast, same, placed) = runs
    assert placed.private_train.x.is_contiguous(memory_format=torch.channels_last)
    first: Tensor = fast.cast.clients[0].party.module.state_dict()["0.weight"]
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert placed.digests == data.digests
    assert losses == pytest.approx(same, rel=1e-4)
    for a, b in zip(weights(plain).values(), weights(fast).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def wide() -> nn.Sequential:
    """More than one channel, so that formats differ."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    )


def test_features_have_no_memory_format() -> None:
    data = split()
    flat = replace(data, private_train=replace(data.private_train, x=torch.rand(48, 5)))
    assert with_format((nn.Linear(5, 3),), flat, Training(channels_last=True)) is flat
