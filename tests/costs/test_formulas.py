"""Published cost formulas: against numbers worked out by hand, and against one another."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from sltoolkit.costs import (
    Scenario,
    Volume,
    Workload,
    buffers_extra,
    labels_extra,
    latency,
    singh,
    splitfed,
)
from sltoolkit.errors import SpecError

pytestmark = pytest.mark.golden

WORK = Workload(clients=10, params=1000, samples=200, cut_width=32, client_params=250)
"""2pq = 12,800; eta = 1/4."""
PACE = splitfed.Pace(compute_seconds=7, rate=100, averaging_seconds=3)


@pytest.mark.parametrize(
    ("formula", "per_client", "total"),
    [
        (singh.split_shared, 1280 + 250, 12_800 + 2500),
        (singh.split_private, 1280, 12_800),
        (singh.federated, 2000, 20_000),
        (splitfed.federated, 2000, 20_000),
        (splitfed.split, 1280 + 500, 12_800 + 5000),
        (splitfed.v1, 1780, 17_800),
        (splitfed.v2, 1780, 17_800),
    ],
)
def test_volumes_are_those_computed_by_hand(
    formula: Callable[[Workload], Volume], per_client: float, total: float
) -> None:
    assert formula(WORK) == Volume(per_client=per_client, total=total)


@pytest.mark.parametrize(
    ("formula", "seconds"),
    [
        (splitfed.federated_seconds, 7 + 20 + 3),
        (splitfed.split_seconds, 7 + 128 + 50),
        (splitfed.v1_seconds, 7 + 12.8 + 5 + 3),
        (splitfed.v2_seconds, 7 + 12.8 + 5 + 1.5),
    ],
)
def test_training_times_are_those_computed_by_hand(
    formula: Callable[[Workload, splitfed.Pace], float], seconds: float
) -> None:
    assert formula(WORK, PACE) == pytest.approx(seconds, rel=1e-15)


@pytest.mark.parametrize("formulas", [singh.FORMULAS, splitfed.FORMULAS])
def test_with_one_client_its_volume_is_the_total(
    formulas: dict[str, Callable[[Workload], Volume]],
) -> None:
    for formula in formulas.values():
        volume = formula(replace(WORK, clients=1))
        assert volume.per_client == volume.total


def test_the_two_papers_count_a_client_s_weights_once_and_twice() -> None:
    crossing = singh.split_private(WORK).total
    once = singh.split_shared(WORK).total - crossing
    assert splitfed.split(WORK).total - crossing == 2 * once == 2 * 250 * 10


def test_with_one_client_splitfed_takes_as_long_as_split_learning_and_the_averaging() -> None:
    alone = replace(WORK, clients=1)
    split = splitfed.split_seconds(alone, PACE)
    assert splitfed.v1_seconds(alone, PACE) == split + 3
    assert splitfed.v2_seconds(alone, PACE) == split + 1.5


@pytest.mark.parametrize("clients", [1, 8, 64])
def test_totals_are_equal_exactly_on_the_break_even_hyperbola(clients: int) -> None:
    # Powers of two, so that nothing is rounded: K N = 2pq / (2 - eta), eta = 1/2 or 0.
    work = Workload(clients=clients, params=1 << 12, samples=192, cut_width=256, client_params=2048)
    facts = {"params": work.params, "cut_width": work.cut_width}

    def samples(divisor: float) -> int:
        return int(clients * work.params * divisor / (2 * work.cut_width))

    shared = replace(work, samples=samples(1.5))
    assert singh.split_shared(shared).total == singh.federated(shared).total
    found = singh.break_even_clients(samples=shared.samples, shared_share=0.5, **facts)
    assert found == clients

    private = replace(work, samples=samples(2))
    assert singh.split_private(private).total == singh.federated(private).total
    assert singh.break_even_clients(samples=private.samples, **facts) == clients

    twice = replace(work, samples=samples(1))
    assert splitfed.split(twice).total == splitfed.federated(twice).total
    found = splitfed.break_even_clients(samples=twice.samples, client_share=0.5, **facts)
    assert found == clients


def test_beyond_the_break_even_split_learning_sends_less() -> None:
    facts = {"samples": 200, "cut_width": 32, "params": 1000}
    even = singh.break_even_clients(shared_share=0.25, **facts)
    assert even == pytest.approx(12_800 / 1750)
    for clients, cheaper in ((math.floor(even), False), (math.ceil(even), True)):
        work = replace(WORK, clients=clients)
        assert (singh.split_shared(work).total < singh.federated(work).total) is cheaper


def test_the_break_even_has_the_same_form_in_clients_and_in_parameters() -> None:
    clients = splitfed.break_even_clients(params=1e6, samples=5e4, cut_width=64, client_share=0.1)
    back = splitfed.break_even_clients(params=clients, samples=5e4, cut_width=64, client_share=0.1)
    assert back == pytest.approx(1e6)


def test_a_client_with_the_whole_model_never_breaks_even() -> None:
    even = splitfed.break_even_clients(params=10, samples=10, cut_width=1, client_share=1)
    assert even == math.inf


def test_bytes_and_extras_are_explicit() -> None:
    assert singh.split_private(WORK).in_bytes() == Volume(per_client=5120, total=51_200)
    assert singh.split_private(WORK).in_bytes(2).total == 25_600
    labels, buffers = labels_extra(WORK), buffers_extra(WORK, numbers=6, transfers=2)
    assert labels == Volume(per_client=20, total=200)
    assert labels_extra(WORK, numbers=10).total == 2000
    assert buffers == Volume(per_client=12, total=120)
    assert labels + buffers == Volume(per_client=32, total=320)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clients": 0}, "clients must be at least 1, got 0"),
        ({"samples": -3}, "samples must be at least 1"),
        ({"client_params": 1001}, "none and all of the 1000 parameters"),
        ({"clients": 201}, "201 clients can't share 200 samples"),
    ],
)
def test_impossible_workloads_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        replace(WORK, **change)


CASE = Scenario(
    work=WORK, rate=100, client_seconds=0.5, server_seconds=0.1, whole_seconds=2,
    auxiliary_params=20, auxiliary_seconds=0.25,
)  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "seconds"),
    [
        # 20 samples each; exchanging: (12,800 + 2 * 250 * 10) / 100 = 178
        (latency.federated, 200 + 20 * 2),
        (latency.split, 178 + 10 * 20 * 0.6),
        (latency.splitfed, 178 + 20 * (0.5 + 10 * 0.1)),
        (latency.local_loss, (6400 + 2 * 270 * 10) / 100 + 20 * max(0.75, 1.0)),
    ],
)
def test_latencies_are_those_computed_by_hand(
    protocol: Callable[[Scenario], float], seconds: float
) -> None:
    assert protocol(CASE) == pytest.approx(seconds, rel=1e-15)


def test_local_losses_save_exactly_the_downlink_where_computing_is_free() -> None:
    case = replace(
        CASE, rate=128, client_seconds=0, server_seconds=0, auxiliary_params=0, auxiliary_seconds=0
    )
    download = WORK.cut_width * WORK.samples_per_client * WORK.clients / 128
    assert latency.splitfed(case) - latency.local_loss(case) == download


def test_local_losses_wait_for_the_slower_side_only() -> None:
    def computing(client: float, server: float) -> float:
        case = replace(CASE, rate=math.inf, client_seconds=client, server_seconds=server)
        return latency.local_loss(case)

    assert computing(5, 0.1) == 20 * 5.25
    assert computing(0.1, 5) == 20 * 10 * 5


def test_with_one_client_split_and_splitfed_take_equally_long() -> None:
    alone = replace(CASE, work=replace(WORK, clients=1))
    assert latency.split(alone) == pytest.approx(latency.splitfed(alone), rel=1e-15)


def test_compute_capacity_is_a_special_case() -> None:
    """The closed forms with |w| / P, as they stand in the literature."""
    w, a, pc, ps, rate, n, d, q = 1000, 20, 4e3, 8e4, 100, 10, 20, 32
    alpha = 0.25
    case = latency.from_capacity(
        WORK, rate=rate, client_capacity=pc, server_capacity=ps, auxiliary_params=a
    )
    client, server = d * alpha * w / pc, d * (1 - alpha) * w / ps
    sent = 2 * q * d / rate + 2 * alpha * w / rate
    local = (q * d + 2 * (alpha * w + a)) * n / rate
    expected = {
        latency.federated: 2 * w * n / rate + d * w / pc,
        latency.split: n * (sent + client + server),
        latency.splitfed: n * sent + client + n * server,
        latency.local_loss: local + max(d * (alpha * w + a) / pc, n * server),
    }
    for protocol, seconds in expected.items():
        assert protocol(case) == pytest.approx(seconds, rel=1e-14)


def test_the_best_cut_is_the_least_of_all() -> None:
    cases = {
        f"cut{i}": replace(CASE, work=replace(WORK, cut_width=width, client_params=params))
        for i, (width, params) in enumerate([(64, 10), (16, 200), (8, 900), (16, 200)])
    }
    for name, seconds in latency.by_cut(cases).items():
        formula = latency.SPLIT_PROTOCOLS[name]
        assert seconds == {cut: formula(case) for cut, case in cases.items()}
        assert seconds[latency.best(seconds)] == min(formula(c) for c in cases.values())
    assert latency.best(latency.by_cut(cases)["split"]) == "cut1"  # the first of equals


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_machines_and_links_that_do_nothing_are_refused(value: float) -> None:
    with pytest.raises(SpecError, match="rate must be above 0"):
        replace(CASE, rate=value)
    with pytest.raises(SpecError, match="client_capacity must be above 0"):
        latency.from_capacity(WORK, rate=1, client_capacity=value, server_capacity=1)
    with pytest.raises(SpecError, match="rate must be above 0"):
        splitfed.Pace(compute_seconds=1, rate=value, averaging_seconds=1)
