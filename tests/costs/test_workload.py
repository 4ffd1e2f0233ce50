"""Workloads and volumes: what is refused, and arithmetic."""

from dataclasses import replace
from typing import Any

import pytest
from support import workloads

from sltoolkit.costs import singh
from sltoolkit.costs.workload import SCALAR_BYTES, Volume, Workload, buffers_extra, labels_extra
from sltoolkit.errors import SpecError

WORK = Workload(clients=4, params=100, samples=30, cut_width=8, client_params=25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients": 0}, "clients must be at least 1, got 0"),
        ({"params": 0, "client_params": 0}, "params must be at least 1"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"cut_width": -3}, "cut_width must be at least 1, got -3"),
        ({"client_params": 101}, "between none and all of the 100 parameters"),
        ({"client_params": -1}, "got client_params=-1"),
        ({"clients": 31}, "31 clients can't share 30 samples"),
    ],
)
def test_counts_that_make_no_training_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(WORK, **changes)


def test_shares() -> None:
    assert WORK.client_share == 0.25
    assert WORK.samples_per_client == 7.5
    assert replace(WORK, client_params=0).client_share == 0
    assert replace(WORK, client_params=100, clients=30).samples_per_client == 1


def test_volumes_add_up_and_become_bytes() -> None:
    total = Volume(per_client=1, total=4) + Volume(per_client=2, total=8)

    assert total == Volume(per_client=3, total=12)
    assert total.in_bytes() == Volume(per_client=3 * SCALAR_BYTES, total=12 * SCALAR_BYTES)
    assert total.in_bytes(8) == Volume(per_client=24, total=96)


def test_what_no_formula_counts() -> None:
    assert labels_extra(WORK) == Volume(per_client=7.5, total=30)
    assert labels_extra(WORK, numbers=10) == Volume(per_client=75, total=300)
    assert buffers_extra(WORK, numbers=3, transfers=2) == Volume(per_client=6, total=24)


@pytest.mark.golden
def test_bytes_and_extras_are_explicit() -> None:
    assert singh.split_private(workloads.WORK).in_bytes() == Volume(per_client=5120, total=51_200)
    assert singh.split_private(workloads.WORK).in_bytes(2).total == 25_600
    labels = labels_extra(workloads.WORK)
    buffers = buffers_extra(workloads.WORK, numbers=6, transfers=2)
    assert labels == Volume(per_client=20, total=200)
    assert labels_extra(workloads.WORK, numbers=10).total == 2000
    assert buffers == Volume(per_client=12, total=120)
    assert labels + buffers == Volume(per_client=32, total=320)


@pytest.mark.golden
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
        replace(workloads.WORK, **change)
