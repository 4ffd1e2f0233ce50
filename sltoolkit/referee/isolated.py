"""Attacks after the fact in a process of their own, which gets the view and nothing else.

The process starts from nothing (no fork), so that the private data, the victim and the referee are
not in its memory. It can't make this process execute anything: what it sends back are tensors and
JSON, and nothing is unpickled. The release oracle stays here and answers over a pipe.

It is a process and no jail: it may read files and use the network with the user's rights.
"""

import io
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing.connection import Connection
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.referee import reports
from sltoolkit.referee.apart import Order
from sltoolkit.referee.sources import FreshClient, Mechanism
from sltoolkit.wire.frames import packed, unpacked

COMMAND = (sys.executable, "-m", "sltoolkit.referee.apart")
"""Starts an attack's process; the number of its end of the connection follows."""


def run_isolated(attack: Attack[Any], view: Any, *, seed: int, device: torch.device) -> Outcome:
    """The outcome of an attack, with its rehearsal, from a process of its own.

    It equals the outcome in this process, bit for bit. Reports of progress are dropped.

    Args:
        attack: the attack.
        view: its view, filled.
        seed: the attacker's seed.
        device: where the view's tensors are.

    Raises:
        SpecError: if attack or view can't be handed over, or the outcome can't be handed back.
        ProtocolError: if the process ends early, or sends what is no answer.
        Exception: the attack's own error, with its own sentence.
    """
    name = type(attack).__name__
    order = _written(attack, view, seed)
    with _process() as (child, connection):
        try:
            connection.send_bytes(order)
            while True:
                record, tensors = unpacked(connection.recv_bytes(), device)
                if record["kind"] != "query":
                    break
                connection.send_bytes(packed(*_answer(view.release, tensors)))
        except (EOFError, OSError) as e:
            raise ProtocolError(
                f"{name}'s own process ended before it handed back an outcome (exit code "
                f"{_exit_code(child)}); a negative code is the signal that ended it, and -9 often "
                "means too little memory"
            ) from e
        except (KeyError, TypeError) as e:
            raise ProtocolError(f"{name}'s own process sent what is no answer ({e!r})") from e
    if record["kind"] == "unready":
        raise _not_handed_over(name, str(record.get("reason")))
    if record["kind"] == "error":
        raise reports.error_in(record)
    return reports.heard(record, tensors)


def _answer(release: Release, tensors: dict[str, Tensor]) -> reports.Report:
    """What the deployed client sends for one query."""
    try:
        x = tensors["x"]
        return {"kind": "answer"}, {"sent": release(x, chunk=max(1, len(x)))[0]}
    except Exception as e:  # noqa: BLE001 - the attack gets what it would get in this process
        return reports.failed(e)


def _written(attack: Attack[Any], view: Any, seed: int) -> bytes:
    order = Order(
        attack=attack, view=type(view),
        holds={f.name: _handed_over(getattr(view, f.name)) for f in fields(view)},
        seed=seed, threads=torch.get_num_threads(), dtype=torch.get_default_dtype(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(order)
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        raise _not_handed_over(type(attack).__name__, str(e)) from e
    return buffer.getvalue()


def _handed_over(held: Any) -> Any:
    """A field of a view in the form in which it is handed over."""
    if isinstance(held, Release):
        return held.per_batch
    return held.redrawn() if isinstance(held, FreshClient | Mechanism) else held


@final
class _Pickler(pickle.Pickler):
    """Writes of a tensor's memory only what the tensor shows, which may be a part of it."""

    def reducer_override(self, held: Any) -> Any:
        """How an object is written."""
        if type(held) is Tensor and held.untyped_storage().nbytes() > held.nbytes:
            return held.detach().clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return NotImplemented


def _not_handed_over(name: str, reason: str) -> SpecError:
    return SpecError(
        f"{name} can't run in a process of its own ({reason}): define it, and the networks and "
        "defenses that it is granted, at the top level of modules that can be imported, or run it "
        "without isolation"
    )


@contextmanager
def _process() -> Iterator[tuple["subprocess.Popen[bytes]", Connection]]:
    """A new process and the connection to it; it is ended with the body."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [*COMMAND, str(theirs.fileno())],
            stdin=subprocess.PIPE, pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        theirs.close()
        connection = Connection(ours.detach())
        try:
            yield child, connection
        finally:
            connection.close()
            child.kill()
            child.wait()
            if child.stdin is not None:
                child.stdin.close()


def _exit_code(child: "subprocess.Popen[bytes]") -> int | None:
    try:
        return child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return None
