"""Protocols against centralized training and the published formulas, exactly, in float64."""

from typing import Literal

import pytest
import torch
from support.tiny import (
    ADAM,
    EPOCHS,
    MOMENTUM,
    PROTOCOLS,
    Q1,
    Q2,
    SGD,
    N,
    centralized,
    close,
    data,
    flat,
    network,
    play,
    trained,
)
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import deploy
from sltoolkit.wire.message import Link, Message

pytestmark = pytest.mark.golden

Handover = Literal["peer", "server", "none"]
HANDOVERS: tuple[Handover, ...] = ("peer", "server", "none")

# ---- equivalences --------------------------------------------------------------------------------


@PROTOCOLS
@pytest.mark.parametrize("training", [SGD, MOMENTUM, ADAM], ids=["sgd", "momentum", "adam"])
def test_one_client_equals_centralised_training(protocol: Protocol, training: Training) -> None:
    run, log = play(protocol, training)
    assert len(log.batches()) == EPOCHS * 5
    close(trained(run), centralized(log.batches(), training))


@pytest.mark.parametrize("protocol", [Vanilla(clients=3), UShaped(clients=3)], ids=["2", "3"])
def test_clients_that_hand_over_equal_centralised_training_on_their_batches_in_turn(
    protocol: Protocol,
) -> None:
    run, log = play(protocol, SGD)
    close(trained(run), centralized(log.batches(), SGD))


def test_without_hand_over_one_client_is_the_same() -> None:
    runs = [play(Vanilla(handover=h), ADAM)[0] for h in HANDOVERS]
    assert torch.equal(trained(runs[0]), trained(runs[1]))


@pytest.mark.parametrize("make", [Vanilla, UShaped])
def test_without_hand_over_every_client_keeps_a_network_of_its_own(
    make: type[Vanilla] | type[UShaped],
) -> None:
    run, log = play(make(clients=3, handover="none"))
    members, _ = deploy(run)
    assert len(members) == 3
    weights = [flat(m.client) for m in members]
    assert all(not torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert not log.sent("weights", "client")
    still, _ = play(make(clients=3, handover="none"), training=None)
    starts = [flat(m.client) for m in deploy(still)[0]]
    assert all(not torch.equal(starts[i], starts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_labels_at_the_server_teach_the_same() -> None:
    runs = [play(p, ADAM)[0] for p in (Vanilla(), Vanilla(labels_at="server"))]
    assert torch.equal(trained(runs[0]), trained(runs[1]))


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [Vanilla(), UShaped()], ids=["vanilla", "u_shaped"])
def test_the_gradient_that_arrives_at_the_client_is_the_derivative_of_the_loss(
    protocol: Protocol,
) -> None:
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


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Vanilla, UShaped])
def test_every_sample_is_seen_once_per_epoch_by_the_client_that_holds_it(
    make: type[Vanilla] | type[UShaped],
) -> None:
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


def test_batches_repeat_with_the_seed_and_differ_between_epochs_and_seeds() -> None:
    orders = [torch.cat(play(Vanilla(), seed=s)[1].batches()) for s in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0][:N], orders[0][N : 2 * N])


def test_the_order_of_batches_depends_neither_on_the_protocol_nor_on_a_defense() -> None:
    assert torch.equal(
        torch.cat(play(Vanilla())[1].batches()),
        torch.cat(play(UShaped(), ADAM, defense=Defense())[1].batches()),
    )


# ---- bytes ---------------------------------------------------------------------------------------


def size(module: nn.Module) -> int:
    """Bytes of all weights and buffers: 8 per value, also the integer batch counter's."""
    return 8 * flat(module).numel()


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


# ---- turns and what is handed over ---------------------------------------------------------------


@pytest.mark.parametrize("make", [Vanilla, UShaped], ids=["2", "3"])
@pytest.mark.parametrize("handover", ["peer", "server"])
def test_alternating_clients_equal_centralised_training_on_their_batches_in_turn(
    make: type[Vanilla] | type[UShaped], handover: Handover
) -> None:
    run, log = play(make(clients=3, turns="batch", handover=handover), SGD)
    seen = [m.src.index for m in log.sent("smashed", "client")]
    assert seen[:6] == [0, 1, 2, 0, 1, 2]  # 22 samples: two batches for each of the clients
    close(trained(run), centralized(log.batches(), SGD))


@pytest.mark.parametrize("training", [MOMENTUM, ADAM], ids=["momentum", "adam"])
@pytest.mark.parametrize("turns", ["epoch", "batch"])
def test_with_optimizer_states_handed_over_any_optimizer_equals_centralised_training(
    training: Training, turns: Literal["epoch", "batch"]
) -> None:
    for make in (Vanilla, UShaped):
        run, log = play(make(clients=3, turns=turns, optimizer_state=True), training)
        close(trained(run), centralized(log.batches(), training))
        assert log.sent("optimizer", "client")
    apart, log = play(Vanilla(clients=3, turns=turns), training)
    assert not torch.allclose(trained(apart), centralized(log.batches(), training), atol=1e-6)


def test_an_unknown_hand_over_is_refused() -> None:
    with pytest.raises(
        SpecError, match="handover must be one of 'peer', 'server', 'none', got 'post'"
    ):
        Vanilla(handover="post")  # type: ignore[arg-type]
