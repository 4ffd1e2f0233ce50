"""SplitFed's formulas against numbers worked out by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.workloads import PACE, WORK, check_one_client_is_all, check_volume

from sltoolkit.costs import Volume, Workload, splitfed
from sltoolkit.errors import SpecError

pytestmark = pytest.mark.golden


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


def test_with_one_client_splitfed_takes_as_long_as_split_learning_and_the_averaging() -> None:
    alone = replace(WORK, clients=1)
    split = splitfed.split_seconds(alone, PACE)
    assert splitfed.v1_seconds(alone, PACE) == split + 3
    assert splitfed.v2_seconds(alone, PACE) == split + 1.5


def test_the_break_even_has_the_same_form_in_clients_and_in_parameters() -> None:
    clients = splitfed.break_even_clients(params=1e6, samples=5e4, cut_width=64, client_share=0.1)
    back = splitfed.break_even_clients(params=clients, samples=5e4, cut_width=64, client_share=0.1)
    assert back == pytest.approx(1e6)


def test_a_client_with_the_whole_model_never_breaks_even() -> None:
    even = splitfed.break_even_clients(params=10, samples=10, cut_width=1, client_share=1)
    assert even == math.inf


@pytest.mark.parametrize(
    ("formula", "per_client", "total"),
    [
        (splitfed.federated, 2000, 20_000),
        (splitfed.split, 1280 + 500, 12_800 + 5000),
        (splitfed.v1, 1780, 17_800),
        (splitfed.v2, 1780, 17_800),
    ],
)
def test_volumes_are_those_computed_by_hand(
    formula: Callable[[Workload], Volume], per_client: float, total: float
) -> None:
    check_volume(formula, per_client, total)


def test_with_one_client_its_volume_is_the_total() -> None:
    check_one_client_is_all(splitfed.FORMULAS)


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_machines_and_links_that_do_nothing_are_refused(value: float) -> None:
    with pytest.raises(SpecError, match="rate must be above 0"):
        splitfed.Pace(compute_seconds=1, rate=value, averaging_seconds=1)
