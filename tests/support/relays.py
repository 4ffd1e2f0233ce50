"""What is checked of protocols whose clients take turns, with each protocol, in its own file."""

from typing import Literal

import torch
from torch import Tensor, nn

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.training.phases import deploy
from support.tiny import EPOCHS, SGD, N, centralized, close, data, flat, network, play, trained

Handover = Literal["peer", "server", "none"]
HANDOVERS: tuple[Handover, ...] = ("peer", "server", "none")
Turns = Literal["epoch", "batch"]
Relay = type[Vanilla] | type[UShaped]


def check_one_client_is_centralized(protocol: Protocol, training: Training) -> None:
    run, log = play(protocol, training)
    assert len(log.batches()) == EPOCHS * 5
    close(trained(run), centralized(log.batches(), training))


def check_hand_over_is_centralized(protocol: Protocol) -> None:
    run, log = play(protocol, SGD)
    close(trained(run), centralized(log.batches(), SGD))


def check_private_networks_without_hand_over(make: Relay) -> None:
    run, log = play(make(clients=3, handover="none"))
    members, _ = deploy(run)
    assert len(members) == 3
    weights = [flat(m.client) for m in members]
    assert all(not torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert not log.sent("weights", "client")
    still, _ = play(make(clients=3, handover="none"), training=None)
    starts = [flat(m.client) for m in deploy(still)[0]]
    assert all(not torch.equal(starts[i], starts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def check_gradient_at_the_client(protocol: Protocol) -> None:
    """What arrives at the client is the slope of the loss, by central differences."""
    _, log = play(protocol, training=None)
    behind = nn.Sequential(*network(2)[1:]).eval()
    sent, got = log.sent("smashed", "client")[0], log.sent("smashed_grad", "server")[0]
    y = data().private_train.y[sent.turn.ids - 1000]

    def loss(z: Tensor) -> Tensor:
        return nn.functional.cross_entropy(behind(z), y)

    step, z = 1e-5, sent.payload
    with torch.no_grad():
        for i in range(0, z.numel(), 7):
            nudge = torch.zeros_like(z)
            nudge.view(-1)[i] = step
            slope = (loss(z + nudge) - loss(z - nudge)) / (2 * step)
            close(got.payload.reshape(-1)[i], slope)


def check_samples_once_per_epoch(make: Relay) -> None:
    """Each client sends every sample that it holds once per epoch."""
    _, log = play(make(clients=3))
    for epoch in range(EPOCHS):
        for k in range(3):
            seen = [
                m.turn.ids
                for m in log.sent("smashed", "client")
                if m.turn.epoch == epoch and m.src.index == k
            ]
            assert torch.cat(seen).sort().values.tolist() == list(range(1000 + k, 1000 + N, 3))
    steps = [m.turn.step for m in log.sent("smashed", "client")]
    assert steps == list(range(len(steps)))


def check_alternating_is_centralized(make: Relay, handover: Handover) -> None:
    run, log = play(make(clients=3, turns="batch", handover=handover), SGD)
    seen = [m.src.index for m in log.sent("smashed", "client")]
    assert seen[:6] == [0, 1, 2, 0, 1, 2]  # 22 samples: two batches for each of the clients
    close(trained(run), centralized(log.batches(), SGD))


def check_handed_over_optimizer_is_centralized(
    make: Relay, training: Training, turns: Turns
) -> None:
    run, log = play(make(clients=3, turns=turns, optimizer_state=True), training)
    close(trained(run), centralized(log.batches(), training))
    assert log.sent("optimizer", "client")
