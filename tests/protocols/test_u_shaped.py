"""U-shaped split learning against centralized training and the published formulas, in float64."""

import pytest
import torch
from support.relays import (
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
from support.tiny import ADAM, EPOCHS, MOMENTUM, Q1, Q2, SGD, N, data, flat, network, play
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.wire.message import Link, Message

pytestmark = pytest.mark.golden


def test_the_order_of_batches_depends_neither_on_the_protocol_nor_on_a_defense() -> None:
    assert torch.equal(
        torch.cat(play(Vanilla())[1].batches()),
        torch.cat(play(UShaped(), ADAM, defense=Defense())[1].batches()),
    )


def size(module: nn.Module) -> int:
    """Bytes of all weights and buffers: 8 per value, also the integer batch counter's."""
    return 8 * flat(module).numel()


def test_u_shaped_sends_2p_values_of_both_cuts_and_head_and_tail_per_hand_over() -> None:
    run, _ = play(UShaped(clients=3))
    head, _, tail = network(3)
    cuts = {
        Link("client", "server", "smashed"): Q1,
        Link("server", "client", "smashed"): Q2,
        Link("client", "server", "smashed_grad"): Q2,
        Link("server", "client", "smashed_grad"): Q1,
    }
    expected = {link: 8 * EPOCHS * N * q for link, q in cuts.items()}
    assert sum(expected.values()) == 8 * EPOCHS * 2 * N * (Q1 + Q2)
    weights, buffers = (Link("client", "client", kind) for kind in ("weights", "buffers"))
    sent = dict(run.cast.wire.bytes)
    both = sent.pop(weights) + sent.pop(buffers)
    assert sent == expected
    assert both == (EPOCHS * 3 - 1) * (size(head) + size(tail))


def carries(message: Message, y: Tensor) -> bool:
    """Whether the payload holds the labels anywhere as consecutive values."""
    values = message.payload.double().flatten()
    windows = values.unfold(0, len(y), 1) if len(values) >= len(y) else values[:0, None]
    return bool((windows == y).all(1).any())


def test_labels_never_cross_the_wire_in_u_shaped() -> None:
    def leaks(log: RecordingEar) -> int:
        y = data().private_train.y
        with_batch = [m for m in log.messages if len(m.turn.ids)]
        return sum(carries(m, y[m.turn.ids - 1000]) for m in with_batch)

    _, vanilla = play(Vanilla(clients=3))
    assert leaks(vanilla) == len(vanilla.batches())  # the search finds them where they are
    _, u_shaped = play(UShaped(clients=3))
    assert len(u_shaped.messages) > 4 * len(u_shaped.batches())
    assert leaks(u_shaped) == 0
    assert all(m.payload.is_floating_point() for m in u_shaped.messages if len(m.turn.ids))


@pytest.mark.parametrize("training", [SGD, MOMENTUM, ADAM], ids=["sgd", "momentum", "adam"])
def test_one_client_equals_centralized_training(training: Training) -> None:
    check_one_client_is_centralized(UShaped(), training)


def test_clients_that_hand_over_equal_centralized_training_on_their_batches_in_turn() -> None:
    check_hand_over_is_centralized(UShaped(clients=3))


def test_without_hand_over_every_client_keeps_a_network_of_its_own() -> None:
    check_private_networks_without_hand_over(UShaped)


def test_the_gradient_that_arrives_at_the_client_is_the_derivative_of_the_loss() -> None:
    check_gradient_at_the_client(UShaped())


def test_every_sample_is_seen_once_per_epoch_by_the_client_that_holds_it() -> None:
    check_samples_once_per_epoch(UShaped)


@pytest.mark.parametrize("handover", ["peer", "server"])
def test_alternating_clients_equal_centralized_training_on_their_batches_in_turn(
    handover: Handover,
) -> None:
    check_alternating_is_centralized(UShaped, handover)


@pytest.mark.parametrize("training", [MOMENTUM, ADAM], ids=["momentum", "adam"])
@pytest.mark.parametrize("turns", ["epoch", "batch"])
def test_with_optimizer_states_handed_over_any_optimizer_equals_centralized_training(
    training: Training, turns: Turns
) -> None:
    check_handed_over_optimizer_is_centralized(UShaped, training, turns)
