"""Jobs: an attack takes over the parameters that its pilot chose."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support.apart import looped
from support.experiment import tiny

from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.jobs import _as_on_pilot, execute, reason_of
from sltoolkit.bench.plan import CellPlan, plan_of
from sltoolkit.bench.spec import load_spec
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import jobs_of
from sltoolkit.errors import StoreError

NOISE = {"name": "gaussian_noise", "std": 0.5}


@dataclass(frozen=True, kw_only=True)
class Inner:
    lr: float | None = None
    steps: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    weight: float | None = None


def cell(pilot: str | None) -> CellPlan:
    return CellPlan(
        victim="v", attack={"name": "outer", "inner": {"steps": 5}}, attacker_seed=0, grants=(),
        isolated=False, listens=False, pilot=pilot, reported=True, key="c",
    )  # fmt: skip


def test_a_pilots_choice_reaches_into_a_nested_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ATTACKS, "outer", Outer)
    store = Store(tmp_path)
    tuned = {"inner.lr": 0.1, "weight": 2.0}
    store.put_cell("p", {"status": "ok", "reason": "", "tuned": tuned, "rows": []}, {})
    settled: object = _as_on_pilot(cell("p"), store)
    assert settled == Outer(inner=Inner(lr=0.1, steps=5), weight=2.0)
    untouched: object = _as_on_pilot(cell(None), store)
    assert untouched == Outer(inner=Inner(steps=5))


@pytest.mark.parametrize("isolate", [False, True])
def test_attacks_after_the_fact_are_isolated_where_the_spec_says_so(
    isolate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sltoolkit.referee.judge.run_isolated", looped)
    attacks = [{"name": "retrieval"}, {"name": "none"}]
    plan = plan_of(load_spec(tiny(attack=attacks, isolate=isolate, seeds=[0], defense=[NOISE])))
    store = Store(tmp_path)
    for job in jobs_of(plan, store):
        execute(job, plan, store)
    rows = [row for key in plan.cells for row in store.cell(key)["rows"]]
    told = {(row["attack"], row["isolated"]) for row in rows}
    assert told == {("retrieval", isolate), ("none", None)}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory: "),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of mem"),
        (torch.OutOfMemoryError("CUDA"), "out of memory: CUDA"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (StoreError("said"), "StoreError: said"),
    ],
)
def test_reasons_are_one_line(error: Exception, said: str) -> None:
    assert reason_of(error).startswith(said)
    assert "\n" not in reason_of(error)
