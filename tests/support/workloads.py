"""A workload and a pace that are worked out by hand, and what is checked of formulas on them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from sltoolkit.costs import Volume, Workload, splitfed

WORK = Workload(clients=10, params=1000, samples=200, cut_width=32, client_params=250)
"""2pq = 12,800; eta = 1/4."""
PACE = splitfed.Pace(compute_seconds=7, rate=100, averaging_seconds=3)


def check_volume(formula: Callable[[Workload], Volume], per_client: float, total: float) -> None:
    assert formula(WORK) == Volume(per_client=per_client, total=total)


def check_one_client_is_all(formulas: Mapping[str, Callable[[Workload], Volume]]) -> None:
    """With one client its volume is the total."""
    for formula in formulas.values():
        volume = formula(replace(WORK, clients=1))
        assert volume.per_client == volume.total
