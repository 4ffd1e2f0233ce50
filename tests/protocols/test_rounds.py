"""Clients side by side, in float64: what is averaged, what persists, and what travels."""

from dataclasses import replace

import pytest
import torch
from support.rounds import FULL, Make, parts, run
from support.tiny import ADAM, SGD, N, close
from support.tiny import data as tiny_data

from sltoolkit.protocols import BlindLearning, FedAvg, LocalLoss, SplitFedV1, SplitFedV2
from sltoolkit.training.phases import deploy
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden

AVERAGING = [SplitFedV1, SplitFedV2, BlindLearning, LocalLoss, FedAvg]


def test_optimizers_persist_over_rounds() -> None:
    seated, _ = run(SplitFedV1(clients=2), replace(ADAM, epochs=3))
    for network in [
        *(m.party for m in seated.cast.clients),
        *(h.party for h in seated.cast.servers),
    ]:
        states = network.optimizer.state.values()  # type: ignore[union-attr]
        assert all(int(s["step"]) == 3 * 3 for s in states)  # 11 samples in batches of 5


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
