"""Latencies against numbers worked out by hand, and against one another."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.workloads import WORK

from sltoolkit.costs import Scenario, latency
from sltoolkit.errors import SpecError

pytestmark = pytest.mark.golden

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
