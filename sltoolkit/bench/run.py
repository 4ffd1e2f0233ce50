"""Runs an experiment or continues one; results that the store already holds are not made again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd
import torch
from torch import Tensor

from sltoolkit.bench.check import check_victims
from sltoolkit.bench.engine import Engine, InProcess, Processes
from sltoolkit.bench.plan import Plan, plan_from_json, plan_of
from sltoolkit.bench.recipes import typed_recipe
from sltoolkit.bench.spec import Spec, load_spec
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job, jobs_of
from sltoolkit.errors import SpecError, StoreError
from sltoolkit.metrics import KINDS
from sltoolkit.report.html import write_all
from sltoolkit.report.plugin_labels import labels
from sltoolkit.rows.columns import DEFENSE, SETTING

_PLAN = "plan.json"


@final
@dataclass(frozen=True, kw_only=True)
class Tick:
    """Progress after a job: how many jobs are done, of how many, and the seconds that are left."""

    done: int
    total: int
    seconds_left: float
    what: str


Progress = Callable[[Tick], None]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """A finished experiment: its folder, all rows, how many cells failed, the accuracy budget."""

    folder: Path
    rows: pd.DataFrame
    failed: int
    demonstration: bool
    accuracy_budget: float


def load_plan(source: Path | str | Mapping[str, Any]) -> tuple[Spec, Plan]:
    """Read a spec, plan it, and check it against its data; nothing is trained or written.

    Raises:
        SpecError, ThreatModelError, DataError: if the spec is wrong.
    """
    spec = load_spec(source)
    plan = plan_of(spec)
    check_victims(plan)
    return spec, plan


def stored_plan(folder: Path) -> Plan:
    """The plan of the experiment in a folder.

    Raises:
        StoreError: if there is none, or it can't be read.
    """
    try:
        return plan_from_json((folder / _PLAN).read_text())
    except FileNotFoundError as e:
        raise StoreError(f"{folder} holds no experiment: run `sltoolkit bench` first") from e
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise StoreError(
            f"{folder / _PLAN} can't be read ({e}): run the same `sltoolkit bench` command again"
        ) from e


def run_bench(
    source: Path | str | Mapping[str, Any], folder: Path, *, workers: int = 1,
    retry_failed: bool = False, progress: Progress | None = None,
) -> Finished:  # fmt: skip
    """Run what is missing of an experiment, then write table, figures and report.

    Args:
        source: a TOML file, or the spec as a dictionary.
        folder: the folder of the store, in which the report is written, too.
        workers: how many processes; with 1, everything runs in this process. The results are
            bit-identical.
        retry_failed: whether cells that failed are run again; otherwise they stay failed.
        progress: called after every job.

    Raises:
        SpecError, ThreatModelError, DataError: before any training, if the spec is wrong.
    """
    if workers < 1:
        raise SpecError(f"workers must be at least 1, got {workers}")
    spec, plan = load_plan(source)
    store = Store(folder)
    store.put_text("spec.json", spec.model_dump_json(indent=1))
    store.put_text(_PLAN, plan.to_json())
    if retry_failed:
        for key in plan.cells:
            if store.has_cell(key) and store.cell(key)["status"] == "failed":
                store.drop_cell(key)
    jobs = jobs_of(plan, store)
    engine: Engine = InProcess() if workers == 1 else Processes(workers)
    engine.run(jobs, plan, store, _Ticker(plan, len(jobs), progress).ended)
    return write_report(folder)


def write_report(folder: Path, accuracy_budget: float | None = None) -> Finished:
    """Rebuild table, figures and report from the store, without training.

    Args:
        folder: the folder of the store.
        accuracy_budget: how much accuracy a defense may lose before it is unusable; by default
            what the spec says.

    Raises:
        SpecError: if the budget isn't a number from 0 to 1.
        StoreError: if the folder holds no experiment, or an unfinished one.
    """
    plan, store = stored_plan(folder), Store(folder)
    rows = collect(plan, store)
    budget = plan.accuracy_budget if accuracy_budget is None else accuracy_budget
    write_all(
        folder, rows, _pictures(store, rows), demonstration=plan.demonstration,
        accuracy_budget=budget,
    )  # fmt: skip
    cells = [store.cell(c.key) for c in plan.cells.values() if c.reported]
    failed = sum(c["status"] == "failed" for c in cells)
    return Finished(
        folder=folder, rows=rows, failed=failed, demonstration=plan.demonstration,
        accuracy_budget=budget,
    )  # fmt: skip


def collect(plan: Plan, store: Store) -> pd.DataFrame:
    """All rows of the reported cells, in the plan's order.

    Raises:
        StoreError: if cells are missing, because the experiment is not finished.
    """
    missing = [c.key for c in plan.cells.values() if c.reported and not store.has_cell(c.key)]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(plan.cells)} cells are not there yet: "
            "run the same `sltoolkit bench` command again to finish them"
        )
    reported = [c for c in plan.cells.values() if c.reported]
    return pd.DataFrame(
        [
            {**row, "experiment": plan.name, "swept": plan.victims[c.victim].swept}
            for c in reported for row in store.cell(c.key)["rows"]
        ]
    )  # fmt: skip


def _pictures(store: Store, rows: pd.DataFrame) -> dict[str, Tensor]:
    """Originals, then the worst attack's reconstructions per defense, for the first victim.

    Only the first setting (data, model, cut, protocol) is shown, and only results with the same
    originals: images of different targets would not show what the defenses change.
    """
    shown: dict[str, Tensor] = {}
    images = rows[(rows.family == "reconstruction") & (rows.status == "ok")]
    if images.empty:
        return shown
    images = images[(images[SETTING] == images[SETTING].iloc[0]).all(axis=1)]
    primary = next((m for m in KINDS["reconstruction"] if (images.metric == m).any()), None)
    images = images[images.metric == primary]
    groups = list(images.groupby(DEFENSE, sort=False))
    names = labels([str(k[0]) for k, _ in groups], [str(k[1]) for k, _ in groups], lone=2)
    for name, (_, group) in zip(names, groups, strict=True):
        worst = group.groupby("attack", sort=False).gain.mean().idxmax()
        tensors = store.images(group[group.attack == worst].iloc[0].cell)
        if "images" in tensors:
            original = shown.setdefault("original", tensors["truth"])
            if torch.equal(original, tensors["truth"]):
                shown[f"{name}\n{worst}"] = tensors["images"]
    return shown


class _Ticker:
    """Counts ended jobs, and estimates the time left from the mean time of a job."""

    def __init__(self, plan: Plan, total: int, progress: Progress | None) -> None:
        self._plan, self._total, self._progress = plan, total, progress
        self._start, self._done = time.perf_counter(), 0

    def ended(self, job: Job) -> None:
        """Count a job, and report."""
        self._done += 1
        if self._progress is not None:
            each = (time.perf_counter() - self._start) / self._done
            left = each * (self._total - self._done)
            self._progress(
                Tick(
                    done=self._done,
                    total=self._total,
                    seconds_left=left,
                    what=_what(job, self._plan),
                )
            )


def _what(job: Job, plan: Plan) -> str:
    """The job in words, such as `decoder on nopeek, victim 2`."""
    recipe = typed_recipe(plan.victims[job.victim].recipe)
    doing = "training" if job.kind == "run" else f"{plan.cells[job.cells[0]].attack['name']} on"
    return f"{doing} {recipe.defense}, victim {recipe.seed}"
