"""The bytes that a run sent, for protocols without a published formula; and the tables."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
from support.known_costs import (
    ALL,
    AUXILIARY,
    BATCHES,
    HEAD,
    HEAD_BUFFERS,
    REST_BUFFERS,
    STEADY,
    blocks,
    ran,
    scalars,
)
from support.tiny import CLASSES, EPOCHS, Q1, Q2, SGD, N, data, network
from torch import nn

from sltoolkit.api import train
from sltoolkit.data.targets import Targets
from sltoolkit.protocols import (
    CollaborativeInference,
    ExtendedVanilla,
    LargeBatchSGD,
    LocalLoss,
    MultiHop,
    MultiTask,
    Protocol,
    SplitFedV1,
    Vanilla,
    Vertical,
)
from sltoolkit.rows.build import victim_columns
from sltoolkit.streams import Stream
from sltoolkit.training.measured import Measured, measure
from sltoolkit.wire.message import Kind, Seat, Toll

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("clients", [2, 3])
def test_large_batch_sgd_sends_the_model_up_and_down_per_client_and_step(clients: int) -> None:
    run = ran(LargeBatchSGD(clients=clients))
    steps = {2: 3, 3: 2}[clients]  # 11 samples each; 8, 7 and 7
    costs = measure(run)
    assert scalars(costs, kinds={"weight_grad"}) == 2 * ALL * clients * steps
    assert scalars(costs, kinds={"buffers"}) == 2 * clients * (HEAD_BUFFERS + REST_BUFFERS)
    assert costs.sent(kinds=set(get_args(Kind)) - {"weight_grad", "buffers"}) == 0


def test_in_large_batch_sgd_clients_without_a_batch_still_receive_the_mean() -> None:
    with Stream(1).scope():
        plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh()).double()
        rest = nn.Sequential(nn.Flatten(), nn.Linear(Q1, CLASSES)).double()
    run = ran(
        LargeBatchSGD(clients=3), training=replace(SGD, batch_size=7), parts=(plain, rest)
    )  # 8, 7 and 7 samples: the first client alone makes a second step
    size = 8 * (20 + Q1 * CLASSES + CLASSES)
    rows = [p for p in measure(run).parties() if p.epoch == STEADY and p.seat.name == "client"]
    assert [p.bytes_up for p in rows] == [2 * size, size, size]
    assert [p.bytes_down for p in rows] == [2 * size] * 3


@pytest.mark.parametrize("clients", [2, 3])
def test_local_losses_send_pq_up_and_head_and_auxiliary_head_both_ways(clients: int) -> None:
    costs = measure(ran(LocalLoss(clients=clients)))
    assert scalars(costs, kinds={"smashed"}) == N * Q1
    assert scalars(costs, kinds={"smashed_grad"}) == 0
    assert scalars(costs, kinds={"weights"}) == 2 * clients * (HEAD + AUXILIARY)
    assert scalars(costs, kinds={"buffers"}) == 2 * clients * HEAD_BUFFERS
    assert scalars(costs, kinds={"labels"}) == N


@pytest.mark.parametrize("clients", [2, 3])
def test_collaborative_inference_sends_smashed_data_up_and_logits_down(clients: int) -> None:
    costs = measure(ran(CollaborativeInference(clients=clients), training=None))
    assert scalars(costs, kinds={"smashed"}) == N * Q1
    assert scalars(costs, kinds={"logits"}) == N * CLASSES
    assert costs.sent() == 8 * EPOCHS * N * (Q1 + CLASSES)


@pytest.mark.parametrize("clients", [2, 4], ids=["2 divides 6", "4 does not"])
@pytest.mark.parametrize(
    ("make", "more"),
    [
        (lambda k: Vertical(clients=k), lambda q: q),
        (lambda k: Vertical(clients=k, merge="sum"), lambda q: q),
        (lambda k: ExtendedVanilla(clients=k), lambda q: q + Q2),
        (lambda k: MultiTask(clients=k), lambda q: 2 * q),  # two tasks
    ],
    ids=["vertical", "vertical_sum", "extended_vanilla", "multi_task"],
)
def test_feature_blocks_send_2p_values_of_every_party_to_every_listener(
    make: Callable[[int], Protocol], more: Callable[[int], int], clients: int
) -> None:
    protocol = make(clients)
    costs = measure(ran(protocol, parts=blocks(protocol.parts)))
    assert costs.sent(epoch=STEADY) == 8 * 2 * N * more(4 * clients)
    assert scalars(costs, kinds={"smashed"}) == scalars(costs, kinds={"smashed_grad"})


@pytest.mark.parametrize("clients", [2, 3])
def test_multi_hop_sends_2p_values_of_every_cut_and_the_holder_s_part(clients: int) -> None:
    costs = measure(ran(MultiHop(clients=clients)))
    assert scalars(costs, kinds={"smashed", "smashed_grad"}) == 2 * N * (Q1 + Q2)
    assert scalars(costs, kinds={"weights"}) == clients * HEAD
    assert scalars(costs, kinds={"buffers"}) == clients * HEAD_BUFFERS
    assert scalars(costs, kinds={"labels"}) == 0


def test_the_table_has_a_row_per_party_and_round_and_adds_up() -> None:
    costs = measure(ran(SplitFedV1(clients=2)))
    table = costs.table()
    assert list(table.columns) == ["epoch", "seat", "bytes_up", "bytes_down", "flops"]
    assert list(table["seat"][:4]) == ["client", "client[1]", "server", "fed"]
    assert len(table) == EPOCHS * 4
    assert table["bytes_up"].sum() == table["bytes_down"].sum() == costs.sent()
    assert table.loc[table["seat"] == "fed", "flops"].sum() == 0


def test_a_run_of_no_epochs_has_an_empty_table() -> None:
    nothing = Measured(tolls={}, flops={})
    assert nothing.epochs == 0
    assert nothing.table().empty
    assert repr(nothing).startswith("Measured(0 epochs")
    assert "Measured(0 epochs" in nothing._repr_html_()


def test_a_victim_keeps_its_costs() -> None:
    victim = train(
        nn.Sequential(*network(2)), data(), cut="0", protocol=SplitFedV1(clients=2),
        training=BATCHES, targets=Targets(count=1, labels=2),
    )  # fmt: skip
    run = ran(SplitFedV1(clients=2))
    assert victim.costs.tolls == measure(run).tolls
    assert victim.costs.flops == measure(run).flops
    assert victim.costs.seconds == victim_columns(victim)["train_seconds"] > 0
    assert victim.bytes == run.cast.wire.bytes


def test_a_notebook_shows_an_epoch_s_costs_of_every_party() -> None:
    costs = measure(ran(Vanilla(clients=2)), seconds=6.0)
    shown = costs._repr_html_()
    assert all(f"<th>{seat}</th>" in shown for seat in ("client", "client[1]", "server"))
    assert "2 s" in repr(costs)


def test_the_latency_of_an_epoch_by_hand() -> None:
    """300 bytes at 100 per second; clients with 20 and 10 FLOP at 10, a server with 40 at 20."""
    first, second, server = Seat("client", 0), Seat("client", 1), Seat("server")
    tolls = {Toll(first, server, "smashed", e): 300 for e in (0, 1)}
    flops = {(s, e): n for s, n in ((first, 20), (second, 10), (server, 40)) for e in (0, 1)}
    costs = Measured(tolls=tolls, flops=flops)
    at_once, in_turn = (
        costs.latency(bytes_per_second=100, client_flops=10, server_flops=20, concurrent=s)
        for s in (True, False)
    )
    # over both epochs the clients compute 40 and 20, the server 80
    assert at_once == pytest.approx((6 + 40 / 10 + 80 / 20) / 2)
    assert in_turn == pytest.approx((6 + 60 / 10 + 80 / 20) / 2)
