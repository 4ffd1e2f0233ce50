"""Large-batch SGD against centralized training, in float64."""

from dataclasses import replace

import pytest
import torch
from support.rounds import (
    check_defense_of_smashed_data_is_refused,
    check_one_client_is_vanilla,
    check_one_step_is_one_large_batch_step,
    parts,
    run,
    weights,
)
from support.tiny import ADAM, SGD, close, flat
from support.tiny import data as tiny_data
from torch import Tensor, nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import LargeBatchSGD
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties

pytestmark = pytest.mark.golden


def test_lockstep_large_batches_equal_sgd_on_the_unions() -> None:
    training = replace(SGD, epochs=2, batch_size=4, momentum=0.9)
    seated, log = run(LargeBatchSGD(clients=3), training)
    whole, samples = nn.Sequential(*parts()), tiny_data().private_train
    optimizer = training.optimizer_for(whole)
    assert optimizer is not None
    up = [m for m in log.messages if m.kind == "weight_grad" and m.dst.name == "server"]
    per_client = len(list(whole.parameters()))
    turns = [m.turn for m in up[::per_client]]
    unions: list[list[Tensor]] = []
    for turn in turns:  # a client that already has a turn in this step begins the next one
        new = not unions or any(client_of(ids) == client_of(turn.ids) for ids in unions[-1])
        unions = [*unions, [turn.ids]] if new else [*unions[:-1], [*unions[-1], turn.ids]]
    for union in unions:
        ids = torch.cat(union) - 1000
        optimizer.zero_grad()
        nn.functional.cross_entropy(whole(samples.x[ids]), samples.y[ids]).backward()
        optimizer.step()
    close(weights(seated), flat(whole))


def client_of(ids: Tensor) -> int:
    """Which of three clients holds a batch: samples are dealt out in turn."""
    return int(ids[0] - 1000) % 3


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_the_references_are_centralized_training(training: Training) -> None:
    check_one_client_is_vanilla(LargeBatchSGD(), training)


@pytest.mark.parametrize("clients", [2, 3])  # 3 do not divide 22: shards of 8, 7, 7
def test_one_full_batch_step_of_all_clients_is_one_large_batch_step(clients: int) -> None:
    check_one_step_is_one_large_batch_step(LargeBatchSGD(clients=clients))


def test_a_defense_of_smashed_data_is_refused_where_none_are_sent() -> None:
    check_defense_of_smashed_data_is_refused(LargeBatchSGD(clients=2))


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_frozen_weights_neither_move_nor_travel(
    training: Training, batch_size: int, frozen: str
) -> None:
    given = parts()
    for part in given:
        for name, weight in part.named_parameters():
            weight.requires_grad_(not name.endswith(frozen))
    log = RecordingEar()
    seated = seat_parties(
        given, tiny_data(), protocol=LargeBatchSGD(clients=3),
        training=replace(training, batch_size=batch_size, weight_decay=0.1),
        defense=NoDefense(), rng=Stream(0), ears=[log],
    )  # fmt: skip

    run_phases(seated, 2)

    for k, me in enumerate(seated.cast.clients):
        assert me.tail is not None
        for before, after in zip(given, (me.party.module, me.tail.module), strict=True):
            moved = dict(after.named_parameters())
            for name, weight in before.named_parameters():
                assert torch.equal(moved[name], weight) is name.endswith(frozen), (k, name)
    learning = {
        f"{i}.{j}"
        for i, part in enumerate(given)
        for j, (name, _) in enumerate(part.named_parameters())
        if not name.endswith(frozen)
    }
    assert {m.name for m in log.messages if m.kind == "weight_grad"} == learning
