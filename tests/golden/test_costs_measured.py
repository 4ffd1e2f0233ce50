"""What a run cost, counted: equal to the published formulas, in float64 and in a steady round."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from tiny import CLASSES, EPOCHS, Q1, Q2, SGD, N, data, network
from torch import nn

from sltoolkit.api import train
from sltoolkit.casting import Run, seat_parties
from sltoolkit.contracts import Defense, NoDefense
from sltoolkit.costs import (
    Measured,
    Volume,
    Workload,
    buffers_extra,
    labels_extra,
    measure,
    singh,
    splitfed,
)
from sltoolkit.protocols import (
    BlindLearning,
    CollaborativeInference,
    ExtendedVanilla,
    FedAvg,
    LargeBatchSGD,
    LocalLoss,
    MultiHop,
    MultiTask,
    Protocol,
    SplitFedV1,
    SplitFedV2,
    SplitFedV3,
    UShaped,
    Vanilla,
    Vertical,
)
from sltoolkit.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.targets import Targets
from sltoolkit.training import run_phases
from sltoolkit.wire import Kind, Seat, Toll

BATCHES = replace(SGD, batch_size=4)  # with which no client of 2 or 3 is left with a batch of one
STEADY = EPOCHS - 1
EXTRAS: tuple[Kind, ...] = ("labels", "buffers")
HEAD, REST, ALL = 24, 165 + 10 + 18, 217  # parameters: 1*2*9 + 2 + 4, 32*5 + 5 + 10 + 5*3 + 3
AUXILIARY = Q1 * CLASSES + CLASSES  # smashed data of 2x4x4 pass the pooling as they are
HEAD_BUFFERS, REST_BUFFERS = 2 * 2 + 1, 2 * 5 + 1  # BatchNorm's statistics, and its counter


def ran(
    protocol: Protocol, *, training: Training | None = BATCHES,
    parts: tuple[nn.Module, ...] | None = None, defense: Defense | None = None,
) -> Run:  # fmt: skip
    run = seat_parties(
        network(protocol.parts) if parts is None else parts, data(), protocol=protocol,
        defense=defense or NoDefense(), training=training, rng=Stream(0),
    )  # fmt: skip
    run_phases(run, EPOCHS)
    return run


def scalars(costs: Measured, *, kinds: set[Kind], epoch: int = STEADY) -> float:
    """Payload bytes of these kinds as numbers of 8 bytes, which all are here."""
    return costs.sent(epoch=epoch, kinds=kinds) / 8


def formula_kinds() -> set[Kind]:
    return set(get_args(Kind)) - set(EXTRAS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A protocol, what its formula says, and its explicit extras."""

    make: Callable[[int], Protocol]
    formula: Callable[[Workload], Volume]
    client_params: int = HEAD
    cut_width: int = Q1
    labels: bool = True
    buffers: int = 0
    transfers: int = 0

    def work(self, clients: int) -> Workload:
        return Workload(
            clients=clients, params=ALL, samples=N, cut_width=self.cut_width,
            client_params=self.client_params,
        )  # fmt: skip


def u_shaped(formula: Callable[[Workload], Volume], handover: str, transfers: int) -> Case:
    return Case(
        make=lambda k: UShaped(clients=k, handover=handover),  # type: ignore[arg-type]
        formula=formula, client_params=HEAD + 18, cut_width=Q1 + Q2, labels=False,
        buffers=HEAD_BUFFERS, transfers=transfers,
    )  # fmt: skip


def split(make: Callable[..., Protocol], formula: Callable[[Workload], Volume], times: int) -> Case:
    return Case(
        make=lambda k: make(clients=k), formula=formula, buffers=HEAD_BUFFERS, transfers=times
    )


CASES = {
    "peer": split(Vanilla, singh.split_shared, 1),
    "none": Case(make=lambda k: Vanilla(clients=k, handover="none"), formula=singh.split_private),
    "server": Case(
        make=lambda k: Vanilla(clients=k, handover="server"), formula=splitfed.split,
        buffers=HEAD_BUFFERS, transfers=2,
    ),
    "labels_at_server": Case(
        make=lambda k: Vanilla(clients=k, labels_at="server"), formula=singh.split_shared,
        labels=False, buffers=HEAD_BUFFERS, transfers=1,
    ),
    "u_shaped_peer": u_shaped(singh.split_shared, "peer", 1),
    "u_shaped_server": u_shaped(splitfed.split, "server", 2),
    "u_shaped_none": u_shaped(singh.split_private, "none", 0),
    "splitfed_v1": split(SplitFedV1, splitfed.v1, 2),
    "splitfed_v2": split(SplitFedV2, splitfed.v2, 2),
    "splitfed_v3": split(SplitFedV3, singh.split_private, 0),
    "blind_learning": split(BlindLearning, splitfed.v1, 2),
    "fedavg_singh": Case(
        make=lambda k: FedAvg(clients=k), formula=singh.federated, labels=False,
        buffers=HEAD_BUFFERS + REST_BUFFERS, transfers=2,
    ),
    "fedavg_splitfed": Case(
        make=lambda k: FedAvg(clients=k, local_epochs=2), formula=splitfed.federated, labels=False,
        buffers=HEAD_BUFFERS + REST_BUFFERS, transfers=2,
    ),
}  # fmt: skip


# ---- bytes: published formulas -------------------------------------------------------------------


@pytest.mark.parametrize("clients", [2, 3], ids=["2 divides 22", "3 does not"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_counted_scalars_are_those_of_the_formula(case: Case, clients: int) -> None:
    costs, work = measure(ran(case.make(clients))), case.work(clients)
    counted = scalars(costs, kinds=formula_kinds())
    assert counted == case.formula(work).total
    labels, buffers = (scalars(costs, kinds={kind}) for kind in EXTRAS)
    assert labels == (labels_extra(work).total if case.labels else 0)
    extra = buffers_extra(work, numbers=case.buffers, transfers=case.transfers)
    assert buffers == extra.total
    assert costs.sent(epoch=STEADY) == 8 * (counted + labels + buffers)


@pytest.mark.parametrize("case", [CASES["server"], CASES["splitfed_v1"], CASES["blind_learning"]])
def test_a_client_s_own_traffic_is_the_formula_s_share(case: Case) -> None:
    run = ran(case.make(3))
    rows = {p.seat: p for p in measure(run).parties() if p.epoch == STEADY}
    for me in run.cast.clients:
        n, own = len(me.samples), rows[me.seat]
        up = n * Q1 + n + HEAD + HEAD_BUFFERS
        assert (own.bytes_up, own.bytes_down) == (8 * up, 8 * (up - n))
    two = {p.seat: p for p in measure(ran(case.make(2))).parties() if p.epoch == STEADY}
    work, own = case.work(2), two[Seat("client", 1)]
    extras = labels_extra(work) + buffers_extra(work, numbers=HEAD_BUFFERS, transfers=2)
    assert own.bytes_up + own.bytes_down == 8 * (case.formula(work) + extras).per_client


def test_a_hand_over_between_peers_is_on_both_their_accounts_but_crosses_the_wire_once() -> None:
    costs = measure(ran(Vanilla(clients=2, handover="peer")))
    own = {p.seat: p for p in costs.parties() if p.epoch == STEADY}[Seat("client", 1)]
    work = CASES["peer"].work(2)
    extras = labels_extra(work) + buffers_extra(work, numbers=HEAD_BUFFERS, transfers=2)
    once = singh.split_shared(work) + extras
    assert own.bytes_up + own.bytes_down == 8 * (once.per_client + HEAD)
    assert splitfed.split(work).per_client == singh.split_shared(work).per_client + HEAD


def test_the_first_epoch_lacks_a_hand_over_between_peers_and_one_client_never_hands_over() -> None:
    costs = measure(ran(Vanilla(clients=3)))
    counted = [scalars(costs, kinds={"weights"}, epoch=e) for e in range(EPOCHS)]
    assert counted == [2 * HEAD, 3 * HEAD, 3 * HEAD]
    assert measure(ran(Vanilla(clients=1))).sent(kinds={"weights"}) == 0


def test_turns_of_a_batch_hand_over_after_every_batch() -> None:
    run = ran(Vanilla(clients=2, turns="batch"))
    assert [len(me.samples) for me in run.cast.clients] == [11, 11]  # batches of 4, 4 and 3
    assert scalars(measure(run), kinds={"weights"}) == 3 * 2 * HEAD


# ---- bytes: protocols without a published formula ------------------------------------------------


@pytest.mark.parametrize("clients", [2, 3])
def test_large_batch_sgd_sends_the_model_up_and_down_per_client_and_step(clients: int) -> None:
    run = ran(LargeBatchSGD(clients=clients))
    steps = {2: 3, 3: 2}[clients]  # 11 samples each; 8, 7 and 7
    costs = measure(run)
    assert scalars(costs, kinds={"weight_grad"}) == 2 * ALL * clients * steps
    assert scalars(costs, kinds={"buffers"}) == 2 * clients * (HEAD_BUFFERS + REST_BUFFERS)
    assert costs.sent(kinds=set(get_args(Kind)) - {"weight_grad", "buffers"}) == 0


def test_in_large_batch_sgd_who_has_no_batch_left_still_receives_the_mean() -> None:
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


def blocks(parts: int) -> tuple[nn.Module, ...]:
    """Linear layers, which any block of the 6 columns fits: 4 values per party and sample."""
    with Stream(1).scope():
        head = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).double()
        middle, last = nn.Sequential(nn.Tanh(), nn.Linear(4, Q2)), nn.Linear(Q2, CLASSES)
    rest = (middle.double(), last.double())
    return (head, *rest) if parts == 3 else (head, nn.Sequential(*rest))


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


# ---- FLOPs ---------------------------------------------------------------------------------------

CONV = 2 * 2 * 9 * 4 * 4  # two per multiply-add: 2 channels of 3x3 at 4x4 places
HIDDEN, LAST = 2 * Q1 * Q2, 2 * Q2 * CLASSES
CLIENT, SERVER = 2 * CONV, 3 * (HIDDEN + LAST)  # forward and gradients; of inputs: nobody's


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


def test_who_only_infers_never_goes_backward() -> None:
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


def test_who_is_not_in_a_round_computes_nothing_and_sends_nothing() -> None:
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


# ---- tables --------------------------------------------------------------------------------------


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
    assert victim.costs.seconds == victim.facts["train_seconds"] > 0
    assert victim.bytes == run.cast.wire.bytes


def test_a_notebook_shows_an_epoch_s_costs_of_every_party() -> None:
    costs = measure(ran(Vanilla(clients=2)), seconds=6.0)
    shown = costs._repr_html_()
    assert all(f"<th>{seat}</th>" in shown for seat in ("client", "client[1]", "server"))
    assert "2 s" in repr(costs)


def test_the_latency_of_an_epoch_by_hand() -> None:
    """300 bytes at 100 a second; clients of 20 and 10 FLOP at 10, a server of 40 at 20 a second."""
    first, second, server = Seat("client", 0), Seat("client", 1), Seat("server")
    tolls = {Toll(first, server, "smashed", e): 300 for e in (0, 1)}
    flops = {(s, e): n for s, n in ((first, 20), (second, 10), (server, 40)) for e in (0, 1)}
    costs = Measured(tolls=tolls, flops=flops)
    at_once, in_turn = (
        costs.latency(bytes_per_second=100, client_flops=10, server_flops=20, side_by_side=s)
        for s in (True, False)
    )
    # over both epochs the clients compute 40 and 20, the server 80
    assert at_once == pytest.approx((6 + 40 / 10 + 80 / 20) / 2)
    assert in_turn == pytest.approx((6 + 60 / 10 + 80 / 20) / 2)
