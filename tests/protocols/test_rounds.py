"""Protocols with clients side by side, in float64: METHODS' equivalences, and averages."""

from dataclasses import replace

import pytest
import torch
from support.rounds import Make, parts, run, weights
from support.tiny import ADAM, SGD, N, close, flat
from support.tiny import data as tiny_data
from torch import Tensor, nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import (
    BlindLearning,
    FedAvg,
    LargeBatchSGD,
    LocalLoss,
    SplitFedV1,
    SplitFedV2,
    SplitFedV3,
    Vanilla,
)
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import average
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden

FULL = replace(SGD, epochs=1, batch_size=N)
AVERAGING = [SplitFedV1, SplitFedV2, BlindLearning, LocalLoss, FedAvg]


def one_big_step(training: Training = FULL) -> Tensor:
    """One step of centralized training on all samples."""
    whole, samples = nn.Sequential(*parts()), tiny_data().private_train
    optimizer = training.optimizer_for(whole)
    assert optimizer is not None
    nn.functional.cross_entropy(whole(samples.x), samples.y).backward()
    optimizer.step()
    return flat(whole)


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_splitfed_is_vanilla(training: Training) -> None:
    vanilla = weights(run(Vanilla(), training)[0])
    for make in (SplitFedV1, SplitFedV2, SplitFedV3, BlindLearning):
        close(weights(run(make(clients=1), training)[0]), vanilla)


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_the_references_are_centralised_training(training: Training) -> None:
    vanilla = weights(run(Vanilla(), training)[0])
    for protocol in (FedAvg(), LargeBatchSGD()):
        close(weights(run(protocol, training)[0]), vanilla)


@pytest.mark.parametrize("clients", [2, 3])  # 3 do not divide 22: shards of 8, 7, 7
@pytest.mark.parametrize("make", [SplitFedV1, FedAvg, LargeBatchSGD], ids=lambda m: m.__name__)
def test_one_full_batch_step_of_all_clients_is_one_large_batch_step(
    make: Make, clients: int
) -> None:
    close(weights(run(make(clients=clients), FULL)[0]), one_big_step())


def test_blind_learning_moves_the_server_along_the_large_batch_gradient() -> None:
    seated, _ = run(BlindLearning(clients=3), FULL)
    close(flat(deploy(seated)[1]), one_big_step()[-flat(parts()[1]).numel() :])


def test_blind_learning_sends_each_client_its_weighted_share_of_the_gradient() -> None:
    _, log = run(BlindLearning(clients=3), replace(FULL, lr=0.0))
    head, rest = parts()
    samples = tiny_data().private_train
    for k, message in enumerate(log.sent("smashed_grad", "server")):
        mine = message.turn.ids - 1000
        z = head(samples.x[mine]).detach().requires_grad_()
        share = len(mine) / N
        (share * nn.functional.cross_entropy(rest(z), samples.y[mine])).backward()
        assert z.grad is not None
        assert message.dst.index == k
        close(message.payload, z.grad)


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
    for turn in turns:  # a client of an earlier number begins the next step
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


def test_v2_meets_its_clients_in_an_order_of_its_own_and_the_order_matters() -> None:
    _, log = run(SplitFedV2(clients=4), replace(SGD, epochs=6))
    orders = []
    for epoch in range(6):
        seen = [m.src.index for m in log.sent("smashed", "client") if m.turn.epoch == epoch]
        orders.append(tuple(dict.fromkeys(seen)))
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 1
    one, other = (run(SplitFedV2(clients=4), replace(SGD, epochs=1), seed=s) for s in (0, 1))
    assert not torch.equal(weights(one[0]), weights(other[0]))


def test_v3_averages_the_server_and_leaves_clients_private() -> None:
    seated, log = run(SplitFedV3(clients=3), SGD)
    members, _ = deploy(seated)
    heads = [flat(m.client) for m in members]
    assert all(not torch.equal(heads[0], h) for h in heads[1:])
    copies = [flat(h.party.module) for h in seated.cast.servers]  # type: ignore[union-attr]
    assert all(torch.equal(copies[0], c) for c in copies)
    assert {m.kind for m in log.messages} == {"smashed", "smashed_grad", "labels"}


def test_optimizers_persist_over_rounds() -> None:
    seated, _ = run(SplitFedV1(clients=2), replace(ADAM, epochs=3))
    for network in [
        *(m.party for m in seated.cast.clients),
        *(h.party for h in seated.cast.servers),
    ]:
        states = network.optimizer.state.values()  # type: ignore[union-attr]
        assert all(int(s["step"]) == 3 * 3 for s in states)  # 11 samples in batches of 5


def test_a_local_loss_needs_no_gradient_from_the_server() -> None:
    seated, log = run(LocalLoss(clients=2), SGD)
    assert not [m for m in log.messages if m.src.name == "server"]
    assert {m.kind for m in log.sent("smashed", "client")} == {"smashed"}
    still, _ = run(LocalLoss(clients=2), replace(SGD, epochs=0))
    assert not torch.equal(weights(seated), weights(still))


def test_the_servers_loss_never_moves_a_client_with_local_losses() -> None:
    def client(labels_shift: float) -> Tensor:
        seated = seat_parties(
            parts(), tiny_data(), protocol=LocalLoss(clients=2), defense=NoDefense(), training=SGD,
            rng=Stream(0),
        )  # fmt: skip
        with torch.no_grad():
            for w in seated.cast.server.party.module.parameters():  # type: ignore[union-attr]
                w.add_(labels_shift)
        run_phases(seated, 2)
        return flat(deploy(seated)[0][0].client)

    assert torch.equal(client(0.0), client(0.3))


def test_averages_are_weighted_and_leave_counters_whole() -> None:
    states = [
        {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([8.0, 0.0]), "n": torch.tensor(7)},
    ]
    mean = average(states, [3, 1])
    assert mean["w"].tolist() == [2.0, 3.0]
    assert (int(mean["n"]), mean["n"].dtype) == (7, torch.int64)


def test_running_statistics_are_averaged_by_samples() -> None:
    seated, _ = run(SplitFedV1(clients=3), replace(FULL, lr=0.0), norm=True)
    samples, head = tiny_data().private_train, parts(norm=True)[0]
    expected = torch.zeros(2, dtype=torch.float64)
    for k in range(3):
        mine = samples.x[k::3]
        expected += len(mine) / N * 0.1 * head[0](mine).mean((0, 2, 3)).detach()  # type: ignore[index]
    state = deploy(seated)[0][0].client.state_dict()
    close(state["1.running_mean"], expected)
    assert int(state["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize("make", AVERAGING, ids=lambda m: m.__name__)
def test_weights_travel_once_up_and_once_down_per_client_and_round(make: Make) -> None:
    seated, _ = run(make(clients=3), SGD)
    networks = seated.cast.clients[0].networks()
    size = 8 * sum(p.numel() for n in networks for p in n.parameters())
    counted = seated.cast.wire.bytes
    for way in (Link("fed", "client", "weights"), Link("client", "fed", "weights")):
        assert counted[way] == SGD.epochs * 3 * size
