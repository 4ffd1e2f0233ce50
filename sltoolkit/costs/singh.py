"""Communication of split and federated learning as in Singh et al., in scalars per epoch.

A. Singh, P. Vepakomma, O. Gupta, R. Raskar, "Detailed comparison of communication efficiency of
split learning and federated learning" (2019, arXiv:1909.09145). Smashed data and their gradients
are counted, labels are not. A hand-over of the client's weights counts *once*: `splitfed` counts it
twice, so numbers of the two modules must never stand in one comparison. With sharing, even a single
client is charged for one hand-over.
"""

from collections.abc import Callable, Mapping

from sltoolkit.costs.workload import Volume, Workload


def split_shared(work: Workload) -> Volume:
    """Split learning, clients hand their weights on: 2(p/K)q + eta N each, 2pq + eta N K in all."""
    return _split(work, handed_over=work.client_params)


def split_private(work: Workload) -> Volume:
    """Split learning, every client keeps its own weights: 2(p/K)q each, 2pq in all."""
    return _split(work, handed_over=0)


def federated(work: Workload) -> Volume:
    """Federated learning, the model down and up: 2N each, 2KN in all."""
    return Volume(per_client=2.0 * work.params, total=2.0 * work.clients * work.params)


FORMULAS: Mapping[str, Callable[[Workload], Volume]] = {
    "split_shared": split_shared,
    "split_private": split_private,
    "federated": federated,
}


def break_even_clients(
    *, params: float, samples: float, cut_width: float, shared_share: float = 0.0
) -> float:
    """The number of clients from which on split learning sends less than federated learning.

    The totals are equal where 2pq + eta N K = 2KN: on the hyperbola K N = 2pq / (2 - eta). Clients
    and parameters are interchangeable in it: given a number of clients as `params`, this returns
    the model size of the break-even (at the same eta).

    Args:
        params: the number of parameters, N.
        samples: the number of samples, p.
        cut_width: the width of the cut, q.
        shared_share: eta, the share of the parameters that is handed on; 0 without sharing.
    """
    return 2 * samples * cut_width / (params * (2 - shared_share))


def _split(work: Workload, *, handed_over: int) -> Volume:
    crossing = 2 * work.samples * work.cut_width
    return Volume(
        per_client=crossing / work.clients + handed_over,
        total=float(crossing + handed_over * work.clients),
    )
