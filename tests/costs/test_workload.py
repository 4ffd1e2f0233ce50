"""Workloads and volumes: what is refused, and arithmetic."""

from dataclasses import replace
from typing import Any

import pytest

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
