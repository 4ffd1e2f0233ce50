"""Seconds per epoch by protocol: sending over a shared link, and computing.

A model with the ingredients of D.-J. Han, H. I. Bhatti, J. Lee, J. Moon, "Accelerating federated
learning with split learning on locally generated losses" (2021); the constants were derived here
and may differ from the paper's. All K clients share one link of rate R, and one server computes for
one client after another, so K clients at once are served K times slower. Times per sample cover the
forward and the backward pass. Symbols: |D| = p/K samples per client; w the model; alpha|w| the
client's part; |a| an auxiliary head's parameters; c, s, f and a' the seconds per sample of the
client's part, the server's part, the whole model on a client, and the auxiliary head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from sltoolkit.costs.flops import SplitCost
from sltoolkit.costs.workload import Workload
from sltoolkit.errors import SpecError


@final
@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workload on machines and a link.

    Attributes:
        work: the training.
        rate: the rate of the link that all clients share for both directions, in scalars per
            second.
        client_seconds: seconds per sample for the client's part, on a client.
        server_seconds: seconds per sample for the server's part, on the server.
        whole_seconds: seconds per sample for the whole model, on a client.
        auxiliary_params: parameters of the head with which a client computes its own loss.
        auxiliary_seconds: seconds per sample for that head, on a client.
    """

    work: Workload
    rate: float
    client_seconds: float
    server_seconds: float
    whole_seconds: float
    auxiliary_params: int = 0
    auxiliary_seconds: float = 0.0

    def __post_init__(self) -> None:
        _check_positive("rate", self.rate)


def from_capacity(
    work: Workload, *, rate: float, client_capacity: float, server_capacity: float,
    auxiliary_params: int = 0,
) -> Scenario:  # fmt: skip
    """The textbook scenario, in which a sample's cost is the number of parameters.

    Args:
        work: the training.
        rate: the rate of the shared link, in scalars per second.
        client_capacity: P_C, in samples times parameters per second: c = alpha|w| / P_C.
        server_capacity: P_S, likewise.
        auxiliary_params: parameters of the auxiliary head.

    Raises:
        SpecError: if a rate or a capacity is not above 0.
    """
    _check_positive("client_capacity", client_capacity)
    _check_positive("server_capacity", server_capacity)
    return Scenario(
        work=work,
        rate=rate,
        client_seconds=work.client_params / client_capacity,
        server_seconds=(work.params - work.client_params) / server_capacity,
        whole_seconds=work.params / client_capacity,
        auxiliary_params=auxiliary_params,
        auxiliary_seconds=auxiliary_params / client_capacity,
    )


def from_flops(
    split: SplitCost, *, clients: int, samples: int, rate: float, client_flops: float,
    server_flops: float,
) -> Scenario:  # fmt: skip
    """The scenario of a real network, by the FLOPs of its parts.

    Args:
        split: the network's parts at one cut.
        clients: the number of clients, K.
        samples: the number of samples, p.
        rate: the rate of the shared link, in scalars per second.
        client_flops: a client's speed, in FLOP/s.
        server_flops: the server's speed, in FLOP/s.

    Raises:
        SpecError: if a rate or a speed is not above 0, or a count is not positive.
    """
    _check_positive("client_flops", client_flops)
    _check_positive("server_flops", server_flops)
    client, server, auxiliary = split.client, split.server, split.auxiliary
    return Scenario(
        work=split.workload(clients=clients, samples=samples),
        rate=rate,
        client_seconds=client.training_flops / client_flops,
        server_seconds=server.training_flops / server_flops,
        whole_seconds=(client.training_flops + server.training_flops) / client_flops,
        auxiliary_params=auxiliary.params,
        auxiliary_seconds=auxiliary.training_flops / client_flops,
    )


def federated(case: Scenario) -> float:
    """Seconds of federated learning: 2|w|K/R + |D|f; the cut doesn't matter."""
    work = case.work
    return 2 * work.params * work.clients / case.rate + work.samples_per_client * case.whole_seconds


def split(case: Scenario) -> float:
    """Seconds of sequential split learning: K [2q|D|/R + 2 alpha|w|/R + |D|(c + s)]."""
    computing = case.work.samples_per_client * (case.client_seconds + case.server_seconds)
    return _exchanging(case) + case.work.clients * computing


def splitfed(case: Scenario) -> float:
    """Seconds of SplitFed: (2q|D| + 2 alpha|w|)K/R + |D|(c + K s)."""
    work = case.work
    computing = case.client_seconds + work.clients * case.server_seconds
    return _exchanging(case) + work.samples_per_client * computing


def local_loss(case: Scenario) -> float:
    """Seconds of local losses: (q|D| + 2(alpha|w| + |a|))K/R + |D| max(c + a', K s).

    No gradient comes back, and client and server compute at the same time. The server's time is an
    upper bound, since it needs no gradient at its input.
    """
    work = case.work
    weights = 2 * (work.client_params + case.auxiliary_params)
    sent = work.samples * work.cut_width + weights * work.clients
    at_client = case.client_seconds + case.auxiliary_seconds
    computing = max(at_client, work.clients * case.server_seconds)
    return sent / case.rate + work.samples_per_client * computing


SPLIT_PROTOCOLS: Mapping[str, Callable[[Scenario], float]] = {
    "split": split,
    "splitfed": splitfed,
    "local_loss": local_loss,
}
"""The protocols whose latency depends on the cut."""


def by_cut(cases: Mapping[str, Scenario]) -> dict[str, dict[str, float]]:
    """Seconds per epoch by protocol and cut, for every protocol that depends on the cut.

    Args:
        cases: scenarios by cut.
    """
    return {
        name: {cut: seconds(case) for cut, case in cases.items()}
        for name, seconds in SPLIT_PROTOCOLS.items()
    }


def best(seconds: Mapping[str, float]) -> str:
    """The cut with the fewest seconds; the first of several equal ones."""
    return min(seconds, key=lambda cut: seconds[cut])


def _exchanging(case: Scenario) -> float:
    """Smashed data, gradients and the client's weights both ways, over the shared link."""
    work = case.work
    sent = 2 * work.samples * work.cut_width + 2 * work.client_params * work.clients
    return sent / case.rate


def _check_positive(name: str, value: float) -> None:
    if not value > 0:  # also refuses NaN
        raise SpecError(f"{name} must be above 0, got {value}")
