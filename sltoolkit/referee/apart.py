"""The process of an attack that runs apart from the harness: `python -m ...apart DESCRIPTOR`.

It trusts the harness, and the harness doesn't trust it: what comes is unpickled here, and what goes
back are frames (`wire.frames`).
"""

import os
import pickle
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.knowledge import Release
from sltoolkit.referee import reports
from sltoolkit.streams import Stream
from sltoolkit.wire.frames import packed, unpacked


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """What the attack's process gets.

    Attributes:
        attack: the attack.
        view: the class of its view.
        holds: the view's fields; in place of the release oracle whether it is `per_batch`.
        seed: the attacker's seed.
        threads: the number of threads that torch computes with.
        dtype: torch's default type.
        deterministic: whether torch must use deterministic algorithms.
    """

    attack: Attack[Any]
    view: type
    holds: dict[str, Any]
    seed: int
    threads: int
    dtype: torch.dtype
    deterministic: bool


def attacker_stream(attack: Any, seed: int) -> Stream:
    """The stream that an attack draws from; the same in every process."""
    return Stream(seed).child("attacker").fresh(type(attack).__name__)


def obey(order: Order, connection: Connection) -> reports.Report:
    """Run the attack, and return what it hands back; its queries go over the connection."""
    torch.set_num_threads(order.threads)
    torch.set_default_dtype(order.dtype)
    torch.use_deterministic_algorithms(order.deterministic)
    holds = dict(order.holds)
    if holds.get("release") is not None:
        holds["release"] = Release(_asking(connection), per_batch=holds["release"])
    rng = attacker_stream(order.attack, order.seed)
    with rng.scope():
        return reports.told(rehearsed(order.attack, order.view(**holds), rng=rng))


def _asking(connection: Connection) -> Any:
    def ask(x: Tensor) -> Tensor:
        connection.send_bytes(packed({"kind": "query"}, {"x": x}))
        record, tensors = unpacked(connection.recv_bytes(), x.device)
        if record["kind"] == "error":
            raise reports.error_in(record)
        return tensors["sent"]

    return ask


def _end_with_the_harness() -> None:
    sys.stdin.read()  # ends when the harness closes it, or is gone
    os._exit(1)


def main(descriptor: int) -> None:
    """Get an order, obey it, and answer."""
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    connection = Connection(descriptor)
    try:
        order: Order = pickle.loads(connection.recv_bytes())
    except Exception as e:  # noqa: BLE001 - whatever an import raises
        connection.send_bytes(packed({"kind": "unready", "reason": f"{type(e).__name__}: {e}"}, {}))
        return
    try:
        report = obey(order, connection)
    except Exception as e:  # noqa: BLE001 - whatever an attack raises becomes a report
        report = reports.failed(e)
    connection.send_bytes(packed(*report))


if __name__ == "__main__":
    from sltoolkit.referee import apart  # the module that orders are pickled under

    apart.main(int(sys.argv[1]))
