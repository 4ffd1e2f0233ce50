"""Costs as plain records, for tables, figures and other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, final

from sltoolkit.costs import latency, singh, splitfed
from sltoolkit.costs.flops import SplitCost
from sltoolkit.costs.workload import SCALAR_BYTES

Record = dict[str, Any]

LABEL_BYTES = 8
"""Bytes of an int64, the type in which class indices are sent."""


@final
@dataclass(frozen=True, kw_only=True)
class Machines:
    """A link and machines.

    Attributes:
        text: the link and the machines in words.
        rate: the link's rate, in scalars per second.
        client_flops: a client's speed, in FLOP/s.
        server_flops: the server's speed, in FLOP/s.
    """

    text: str
    rate: float
    client_flops: float
    server_flops: float


def setting(split: SplitCost, samples: int) -> Record:
    """The facts about a cut that don't depend on the protocol."""
    work = split.workload(clients=1, samples=samples)
    return {
        "cut": split.at,
        "samples": samples,
        "scalar_bytes": SCALAR_BYTES,
        "params": work.params,
        "client_params": work.client_params,
        "cut_width": work.cut_width,
        "client_training_flops": split.client.training_flops,
        "server_training_flops": split.server.training_flops,
        "label_bytes": samples * LABEL_BYTES,
        "client_buffer_bytes": split.client.buffers * SCALAR_BYTES,
        "buffer_bytes": split.whole.buffers * SCALAR_BYTES,
    }


def communication(split: SplitCost, counts: Sequence[int], samples: int) -> list[Record]:
    """Bytes sent, by number of clients, paper and method."""
    records = []
    for k in counts:
        work = split.workload(clients=k, samples=samples)
        for paper, formulas in (("singh", singh.FORMULAS), ("splitfed", splitfed.FORMULAS)):
            for method, formula in formulas.items():
                sent = formula(work).in_bytes()
                records.append(
                    {
                        "clients": k,
                        "paper": paper,
                        "method": method,
                        "per_client_bytes": sent.per_client,
                        "total_bytes": sent.total,
                    }
                )
    return records


def break_even(split: SplitCost, samples: int) -> list[Record]:
    """The number of clients from which on split learning sends less; None where it never does."""
    work = split.workload(clients=1, samples=samples)
    facts = {"params": work.params, "samples": work.samples, "cut_width": work.cut_width}
    share = work.client_share
    found = {
        ("singh", "split_shared"): singh.break_even_clients(**facts, shared_share=share),
        ("singh", "split_private"): singh.break_even_clients(**facts),
        ("splitfed", "split"): splitfed.break_even_clients(**facts, client_share=share),
    }
    return [
        {"paper": paper, "method": method, "clients": at if isfinite(at) else None}
        for (paper, method), at in found.items()
    ]


def latencies(
    splits: Mapping[str, SplitCost], counts: Sequence[int], samples: int, machines: Machines
) -> list[Record]:
    """Seconds per epoch, by number of clients, protocol and cut.

    Cuts before the first parameters are left out, because they would send the inputs themselves.
    """
    records: list[Record] = []
    for k in counts:
        cases = {
            at: latency.from_flops(
                split, clients=k, samples=samples, rate=machines.rate,
                client_flops=machines.client_flops, server_flops=machines.server_flops,
            )
            for at, split in splits.items()
            if split.client.params
        }  # fmt: skip
        whole = latency.federated(next(iter(cases.values())))
        records.append(_timed(k, "federated", None, whole, best=False))
        for protocol, times in latency.by_cut(cases).items():
            chosen = latency.best(times)
            records += [_timed(k, protocol, at, s, best=at == chosen) for at, s in times.items()]
    return records


def nested(
    records: Sequence[Record],
) -> tuple[dict[int, dict[str, dict[str, float]]], dict[int, float]]:
    """Seconds by clients, protocol and cut; and those of federated learning, by clients."""
    times: dict[int, dict[str, dict[str, float]]] = {}
    federated: dict[int, float] = {}
    for x in records:
        if x["cut"] is None:
            federated[x["clients"]] = x["seconds"]
        else:
            protocols = times.setdefault(x["clients"], {})
            protocols.setdefault(x["protocol"], {})[x["cut"]] = x["seconds"]
    return times, federated


def _timed(clients: int, protocol: str, cut: str | None, seconds: float, *, best: bool) -> Record:
    return {
        "clients": clients, "protocol": protocol, "cut": cut, "seconds": seconds, "best": best
    }  # fmt: skip
