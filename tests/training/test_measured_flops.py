"""The FLOPs of every party of a run against those of its layers, counted by hand."""

from dataclasses import replace

import pytest
import torch
from support.known_costs import STEADY, blocks, ran
from support.tiny import CLASSES, EPOCHS, Q1, Q2, SGD, N

from sltoolkit.protocols import (
    BlindLearning,
    CollaborativeInference,
    FedAvg,
    LocalLoss,
    MultiHop,
    MultiTask,
    Protocol,
    SplitFedV1,
    SplitFedV2,
    SplitFedV3,
    UShaped,
    Vanilla,
)
from sltoolkit.training.measured import measure
from sltoolkit.training.run import Run

pytestmark = pytest.mark.golden

CONV = 2 * 2 * 9 * 4 * 4  # two per multiply-add: 2 channels of 3x3 at 4x4 places
HIDDEN, LAST = 2 * Q1 * Q2, 2 * Q2 * CLASSES
CLIENT, SERVER = 2 * CONV, 3 * (HIDDEN + LAST)  # forward and gradients; no gradient at inputs


def flops(run: Run, epoch: int = STEADY) -> dict[str, int]:
    return {
        str(p.seat): p.flops for p in measure(run).parties() if p.epoch == epoch and p.flops
    }  # fmt: skip


@pytest.mark.parametrize(
    "protocol",
    [Vanilla(clients=3), SplitFedV1(clients=3), SplitFedV2(clients=3), SplitFedV3(clients=3),
     BlindLearning(clients=3)],
    ids=lambda p: type(p).__name__,
)  # fmt: skip
def test_every_party_computes_forward_and_backward_for_its_samples(protocol: Protocol) -> None:
    clients = {"client": 8 * CLIENT, "client[1]": 7 * CLIENT, "client[2]": 7 * CLIENT}
    run = ran(protocol)
    for epoch in range(EPOCHS):
        assert flops(run, epoch) == clients | {"server": N * SERVER}


def test_a_tail_is_the_client_s_and_its_gradient_leaves_it() -> None:
    head_and_tail = CLIENT + 3 * LAST
    assert flops(ran(UShaped())) == {"client": N * head_and_tail, "server": N * 3 * HIDDEN}


def test_federated_clients_compute_everything_as_often_as_they_train() -> None:
    for local_epochs in (1, 2):
        run = ran(FedAvg(clients=2, local_epochs=local_epochs))
        each = 11 * local_epochs * (CLIENT + SERVER)
        assert flops(run) == {"client": each, "client[1]": each}


def test_an_auxiliary_head_is_computed_by_its_client() -> None:
    auxiliary = 3 * 2 * Q1 * CLASSES
    assert flops(ran(LocalLoss())) == {"client": N * (CLIENT + auxiliary), "server": N * SERVER}


def test_parties_that_only_infer_never_go_backward() -> None:
    run = ran(CollaborativeInference(), training=None)
    assert flops(run) == {"client": N * CONV, "server": N * (HIDDEN + LAST)}


def test_hops_and_further_servers_have_flops_of_their_own() -> None:
    assert flops(ran(MultiHop())) == {
        "client": N * CLIENT, "hop1": N * 3 * HIDDEN, "server": N * 3 * LAST
    }  # fmt: skip
    tasks = flops(ran(MultiTask(), parts=blocks(2)))
    head, rest = 2 * (2 * 18 * 4), 3 * (2 * 8 * Q2 + LAST)  # 3 of 6 columns each, joined again
    assert tasks == {
        "client": N * head, "partner1": N * head, "server": N * rest, "server1": N * rest
    }  # fmt: skip


def test_a_client_outside_a_round_computes_nothing_and_sends_nothing() -> None:
    costs = measure(
        ran(SplitFedV1(clients=4, participation=0.25), training=replace(SGD, batch_size=6))
    )
    for epoch in range(EPOCHS):
        rows = [p for p in costs.parties() if p.epoch == epoch and p.seat.name == "client"]
        there = [p for p in rows if p.flops]
        assert (len(rows), len(there)) == (4, 1)
        assert there[0].flops in (6 * CLIENT, 5 * CLIENT)
        assert all(p.bytes_up == p.bytes_down == 0 for p in rows if not p.flops)


def test_measuring_leaves_the_run_as_it_is() -> None:
    run = ran(Vanilla())
    before = {
        i: [t.clone() for t in party.module.state_dict().values()]
        for i, (_, party, _) in enumerate(run.cast.networks())
    }
    generator = torch.get_rng_state()
    assert measure(run) == measure(run)
    for i, (_, party, _) in enumerate(run.cast.networks()):
        after = party.module.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(before[i], after, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)
