"""Measures canaries with the engine of `bench`, and reduces each result to bits and values."""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from published.canaries import Canary
from published.lengths import shortened
from sltoolkit.bench.engine import InProcess
from sltoolkit.bench.plan import Plan, plan_of
from sltoolkit.bench.spec import load_spec
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import jobs_of
from sltoolkit.errors import SLToolkitError
from sltoolkit.training.checkpoint import read_victim

MEASURED = (
    "utility", "balanced_accuracy", "chance", "epoch_bytes", "epsilon", "seat_epsilon", "value",
    "ci_low", "ci_high", "baseline", "gain", "retrieval", "releases", "queries", "reducer_error",
)  # fmt: skip
"""Columns of a row that are results; others identify it, or are times."""

SHOWN = ("value", "baseline")
DIGITS = 7


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of a canary.

    Attributes:
        bits: a digest of everything that was measured: the victim's weights and messages, the
            attack's outcome, the scores of all targets and of the best baseline.
        values: the numbers by name, rounded, for reading and for other environments.
        settings: the canary's settings.
    """

    bits: str
    values: Mapping[str, float]
    settings: Mapping[str, Any]


@final
class CanaryError(SLToolkitError):
    """A canary can't be measured."""


@final
class Bench:
    """A temporary store in which equal canaries are measured once; use it as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._store = Store(Path(self._folder.name))

    def __enter__(self) -> "Bench":
        """The bench itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the store."""
        self._folder.cleanup()

    def result(self, canary: Canary) -> Measured:
        """The result of a canary.

        Raises:
            CanaryError: if its cell failed; the message says why.
        """
        try:
            plan = plan_of(load_spec(canary.experiment))
        except SLToolkitError as e:
            raise CanaryError(f"{canary.name} can't be planned: {e}") from e
        with shortened():
            InProcess().run(jobs_of(plan, self._store), plan, self._store, lambda _: None)
        return self._reduced(canary, plan)

    def _reduced(self, canary: Canary, plan: Plan) -> Measured:
        (cell,) = (c for c in plan.cells.values() if c.reported)
        record = self._store.cell(cell.key)
        if record["status"] != "ok":
            raise CanaryError(f"{canary.name} failed: {record['reason']}")
        tensors, about = read_victim(self._store.victim_path(cell.victim))
        rows = [{k: row[k] for k in MEASURED} for row in record["rows"]]
        told = {
            "rows": rows, "tuned": record["tuned"], "diagnostics": record.get("diagnostics", {}),
            "losses": about["losses"],
        }  # fmt: skip
        bits = digest(told, tensors | self._store.images(cell.key))
        return Measured(bits=bits, values=_values(record["rows"]), settings=canary.settings)


def digest(told: Any, tensors: Mapping[str, Tensor]) -> str:
    """A hash of numbers, as JSON values and as tensors by name, that differs if any bit does."""
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The finite numbers of a cell's rows: the utility, and each metric with its baseline."""
    found = {"utility": rows[0]["utility"]}
    for row in rows:
        found |= {f"{row['metric']} {name}": row[name] for name in SHOWN if row["metric"]}
    return {k: float(f"{v:.{DIGITS}g}") for k, v in found.items() if math.isfinite(v)}
