"""The published formulas beside each other: what they count differently, where they are even."""

from dataclasses import replace

import pytest
from support.workloads import WORK

from sltoolkit.costs import Workload, singh, splitfed

pytestmark = pytest.mark.golden


def test_the_two_papers_count_a_client_s_weights_once_and_twice() -> None:
    crossing = singh.split_private(WORK).total
    once = singh.split_shared(WORK).total - crossing
    assert splitfed.split(WORK).total - crossing == 2 * once == 2 * 250 * 10


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
