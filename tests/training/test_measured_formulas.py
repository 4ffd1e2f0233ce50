"""The bytes that a run sent against the published formulas, in float64 and steady rounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import pytest
from support.known_costs import ALL, HEAD, HEAD_BUFFERS, REST_BUFFERS, STEADY, ran, scalars
from support.tiny import EPOCHS, Q1, Q2, N

from sltoolkit.costs import Volume, Workload, buffers_extra, labels_extra, singh, splitfed
from sltoolkit.protocols import (
    BlindLearning,
    FedAvg,
    Protocol,
    SplitFedV1,
    SplitFedV2,
    SplitFedV3,
    UShaped,
    Vanilla,
)
from sltoolkit.training.measured import measure
from sltoolkit.wire.message import Kind, Seat

pytestmark = pytest.mark.golden

EXTRAS: tuple[Kind, ...] = ("labels", "buffers")


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
