"""Singh et al.'s formulas against numbers worked out by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.workloads import WORK, check_one_client_is_all, check_volume

from sltoolkit.costs import Volume, Workload, singh

pytestmark = pytest.mark.golden


def test_beyond_the_break_even_split_learning_sends_less() -> None:
    facts = {"samples": 200, "cut_width": 32, "params": 1000}
    even = singh.break_even_clients(shared_share=0.25, **facts)
    assert even == pytest.approx(12_800 / 1750)
    for clients, cheaper in ((math.floor(even), False), (math.ceil(even), True)):
        work = replace(WORK, clients=clients)
        assert (singh.split_shared(work).total < singh.federated(work).total) is cheaper


@pytest.mark.parametrize(
    ("formula", "per_client", "total"),
    [
        (singh.split_shared, 1280 + 250, 12_800 + 2500),
        (singh.split_private, 1280, 12_800),
        (singh.federated, 2000, 20_000),
    ],
)
def test_volumes_are_those_computed_by_hand(
    formula: Callable[[Workload], Volume], per_client: float, total: float
) -> None:
    check_volume(formula, per_client, total)


def test_with_one_client_its_volume_is_the_total() -> None:
    check_one_client_is_all(singh.FORMULAS)
