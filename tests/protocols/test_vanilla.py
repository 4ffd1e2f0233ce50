"""Vanilla split learning against centralized training and the published formulas, in float64."""

import pytest
import torch
from support.relays import (
    HANDOVERS,
    Handover,
    Turns,
    check_alternating_is_centralized,
    check_gradient_at_the_client,
    check_hand_over_is_centralized,
    check_handed_over_optimizer_is_centralized,
    check_one_client_is_centralized,
    check_private_networks_without_hand_over,
    check_samples_once_per_epoch,
)
from support.tiny import ADAM, EPOCHS, MOMENTUM, Q1, SGD, N, centralized, network, play, trained

from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden


def test_without_hand_over_one_client_is_the_same() -> None:
    runs = [play(Vanilla(handover=h), ADAM)[0] for h in HANDOVERS]
    assert torch.equal(trained(runs[0]), trained(runs[1]))


def test_labels_at_the_server_teach_the_same() -> None:
    runs = [play(p, ADAM)[0] for p in (Vanilla(), Vanilla(labels_at="server"))]
    assert torch.equal(trained(runs[0]), trained(runs[1]))


def test_batches_repeat_with_the_seed_and_differ_between_epochs_and_seeds() -> None:
    orders = [torch.cat(play(Vanilla(), seed=s)[1].batches()) for s in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0][:N], orders[0][N : 2 * N])


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("handover", HANDOVERS)
def test_vanilla_sends_2pq_values_the_labels_and_one_client_part_per_hand_over(
    clients: int, handover: Handover
) -> None:
    run, _ = play(Vanilla(clients=clients, handover=handover))
    up, down = Link("client", "server", "smashed"), Link("server", "client", "smashed_grad")
    expected = {
        up: 8 * EPOCHS * N * Q1,
        down: 8 * EPOCHS * N * Q1,
        Link("client", "server", "labels"): 8 * EPOCHS * N,
    }
    if handover != "none" and clients > 1:  # the first client of the run starts with what it has
        part, turns = network(2)[0], EPOCHS * clients - 1
        ways = {
            "peer": [("client", "client")],
            "server": [("client", "server"), ("server", "client")],
        }
        for way in ways[handover]:
            expected[Link(*way, "weights")] = turns * 8 * sum(p.numel() for p in part.parameters())
            expected[Link(*way, "buffers")] = turns * 8 * (2 * 2 + 1)
    assert run.cast.wire.bytes == expected
    assert expected[up] + expected[down] == 8 * EPOCHS * 2 * N * Q1


def test_labels_at_the_server_do_not_travel() -> None:
    run, _ = play(Vanilla(labels_at="server"))
    assert {link.kind for link in run.cast.wire.bytes} == {"smashed", "smashed_grad"}


def test_an_unknown_hand_over_is_refused() -> None:
    with pytest.raises(
        SpecError, match="handover must be one of 'peer', 'server', 'none', got 'post'"
    ):
        Vanilla(handover="post")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "protocol", [Vanilla(), Vanilla(labels_at="server")], ids=lambda p: repr(p)
)
@pytest.mark.parametrize("training", [SGD, MOMENTUM, ADAM], ids=["sgd", "momentum", "adam"])
def test_one_client_equals_centralized_training(protocol: Vanilla, training: Training) -> None:
    check_one_client_is_centralized(protocol, training)


def test_clients_that_hand_over_equal_centralized_training_on_their_batches_in_turn() -> None:
    check_hand_over_is_centralized(Vanilla(clients=3))


def test_without_hand_over_every_client_keeps_a_network_of_its_own() -> None:
    check_private_networks_without_hand_over(Vanilla)


def test_the_gradient_that_arrives_at_the_client_is_the_derivative_of_the_loss() -> None:
    check_gradient_at_the_client(Vanilla())


def test_every_sample_is_seen_once_per_epoch_by_the_client_that_holds_it() -> None:
    check_samples_once_per_epoch(Vanilla)


@pytest.mark.parametrize("handover", ["peer", "server"])
def test_alternating_clients_equal_centralized_training_on_their_batches_in_turn(
    handover: Handover,
) -> None:
    check_alternating_is_centralized(Vanilla, handover)


@pytest.mark.parametrize("training", [MOMENTUM, ADAM], ids=["momentum", "adam"])
@pytest.mark.parametrize("turns", ["epoch", "batch"])
def test_with_optimizer_states_handed_over_any_optimizer_equals_centralized_training(
    training: Training, turns: Turns
) -> None:
    check_handed_over_optimizer_is_centralized(Vanilla, training, turns)
    apart, log = play(Vanilla(clients=3, turns=turns), training)
    assert not torch.allclose(trained(apart), centralized(log.batches(), training), atol=1e-6)
