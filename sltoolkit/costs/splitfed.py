"""Communication and training time as in the SplitFed paper, for one global epoch.

C. Thapa, M. A. P. Chamikara, S. Camtepe, L. Sun, "SplitFed: when federated learning meets split
learning" (AAAI 2022, arXiv:2004.12088), its table of costs. Weights count *twice*, down and up:
`singh` counts a hand-over once, so numbers of the two modules must never stand in one comparison.
Labels are not counted. Every client has its own link; in `latency` all clients share one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from sltoolkit.costs.workload import Volume, Workload
from sltoolkit.errors import SpecError


def federated(work: Workload) -> Volume:
    """Federated learning: 2|W| each, 2K|W| in all."""
    return Volume(per_client=2.0 * work.params, total=2.0 * work.clients * work.params)


def split(work: Workload) -> Volume:
    """Sequential split learning: (2p/K)q + 2 beta|W| each, 2pq + 2 beta K|W| in all."""
    crossing, weights = 2 * work.samples * work.cut_width, 2 * work.client_params
    return Volume(
        per_client=crossing / work.clients + weights,
        total=float(crossing + weights * work.clients),
    )


def v1(work: Workload) -> Volume:
    """SplitFed V1: as `split`, with the averaging of clients in place of the hand-over."""
    return split(work)


def v2(work: Workload) -> Volume:
    """SplitFed V2: as `split`; it differs from V1 only at the server, which sends nothing."""
    return split(work)


FORMULAS: Mapping[str, Callable[[Workload], Volume]] = {
    "federated": federated,
    "split": split,
    "splitfed_v1": v1,
    "splitfed_v2": v2,
}


def break_even_clients(
    *, params: float, samples: float, cut_width: float, client_share: float
) -> float:
    """The number of clients from which on split learning sends less than federated learning.

    The totals are equal where 2pq + 2 beta K|W| = 2K|W|: on K|W| = pq / (1 - beta). Given a number
    of clients as `params`, this returns the model size of the break-even (at the same beta). It is
    infinite where the client holds the whole model.
    """
    if client_share == 1:
        return math.inf
    return samples * cut_width / (params * (1 - client_share))


@final
@dataclass(frozen=True, kw_only=True)
class Pace:
    """A link and computing times, which decide the training time together with the workload.

    Attributes:
        compute_seconds: T, for forward and backward over all p samples, in any protocol.
        rate: R, the rate of one client's link, in scalars per second.
        averaging_seconds: T_fedavg, for averaging whole models.
    """

    compute_seconds: float
    rate: float
    averaging_seconds: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise SpecError(f"rate must be above 0 scalars per second, got {self.rate}")


def federated_seconds(work: Workload, pace: Pace) -> float:
    """Federated learning: T + 2|W|/R + T_fedavg."""
    return pace.compute_seconds + 2 * work.params / pace.rate + pace.averaging_seconds


def split_seconds(work: Workload, pace: Pace) -> float:
    """One client after another: T + 2pq/R + 2 beta|W|K/R."""
    return pace.compute_seconds + split(work).total / pace.rate


def v1_seconds(work: Workload, pace: Pace) -> float:
    """All clients at once: T + 2pq/(KR) + 2 beta|W|/R + T_fedavg."""
    return pace.compute_seconds + v1(work).per_client / pace.rate + pace.averaging_seconds


def v2_seconds(work: Workload, pace: Pace) -> float:
    """As V1, but only clients are averaged: T + 2pq/(KR) + 2 beta|W|/R + T_fedavg/2."""
    return pace.compute_seconds + v2(work).per_client / pace.rate + pace.averaging_seconds / 2


TIMES: Mapping[str, Callable[[Workload, Pace], float]] = {
    "federated": federated_seconds,
    "split": split_seconds,
    "splitfed_v1": v1_seconds,
    "splitfed_v2": v2_seconds,
}
