"""Jobs: the training of one victim with its listeners, or one attack after the fact.

A job needs only the plan and the store, so it can run in any process. A failure becomes a stored
row that gives the reason, so no cell is ever missing.
"""

import dataclasses
import functools
import gc
import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from sltoolkit import api
from sltoolkit.bench.build import attack_from
from sltoolkit.bench.keys import THREADS
from sltoolkit.bench.plan import CellPlan, Plan, VictimPlan
from sltoolkit.bench.recipes import make_victim, split_of, stored_victim, typed_recipe
from sltoolkit.bench.spec import Table
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener, NoAttack
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ProtocolError, SLToolkitError
from sltoolkit.parameters.grids import settled
from sltoolkit.referee.judge import prepare
from sltoolkit.rows.build import (
    Columns,
    attack_columns,
    guessing_columns,
    recipe_columns,
    tuned_text,
    victim_columns,
)
from sltoolkit.rows.columns import Row
from sltoolkit.rows.environment import environment
from sltoolkit.training.checkpoint import save_victim
from sltoolkit.training.victim import Victim

SHOWN = 16
"""How many reconstructions of a cell are kept for figures."""


def execute(job: Job, plan: Plan, store: Store) -> None:
    """Do a job and store its results, or the reason why it failed."""
    torch.set_num_threads(THREADS)
    try:
        if job.kind == "run":
            _run(job, plan, store)
        else:
            _attack(plan.cells[job.cells[0]], plan, store)
    except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever a plug-in raises becomes a row
        fail(job, plan, store, reason_of(e))
    if job.kind == "run":  # frees networks in reference cycles; too slow to do after every cell
        gc.collect()


def reason_of(error: BaseException) -> str:
    """One line that says what went wrong and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SLToolkitError):
        where = ""
    lacking = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error)  # torch's message on a CPU
    )
    kind = "out of memory" if lacking else type(error).__name__
    return f"{kind}: {' '.join(str(error).split())}{where}"


def fail(job: Job, plan: Plan, store: Store, reason: str) -> None:
    """Store the reason of a failed job for every cell that gets no result because of it."""
    keys: Iterable[str] = job.cells
    if job.kind == "run" and not store.has_victim(job.victim):
        keys = [c.key for c in plan.cells.values() if c.victim == job.victim]
        reason = f"its victim failed: {reason}"
    for key in keys:
        if not store.has_cell(key):
            store.put_cell(key, _failed(plan.cells[key], plan, reason), {})


def _failed(cell: CellPlan, plan: Plan, reason: str) -> dict[str, Any]:
    victim = plan.victims[cell.victim]
    row = Row(
        **recipe_columns(typed_recipe(victim.recipe)), **_cell_columns(cell, plan),
        **_guessing(victim), status="failed", reason=reason,
    )  # fmt: skip
    return _record([row], reason=reason)


def _record(
    rows: Sequence[Row], *, reason: str = "", tuned: Mapping[str, float | str] | None = None
) -> dict[str, Any]:
    """The record that is stored for a cell."""
    status = rows[0].status
    return {
        "status": status, "reason": reason, "tuned": dict(tuned or {}),
        "rows": [vars(row) for row in rows],
    }  # fmt: skip


def _run(job: Job, plan: Plan, store: Store) -> None:
    listening = [plan.cells[key] for key in job.cells]
    try:
        attacks = [_as_on_pilot(cell, store) for cell in listening]
        victim = _made(plan.victims[job.victim].recipe, listening, attacks)
    except ProtocolError:  # the training itself failed
        raise
    except Exception as e:  # noqa: BLE001 - a listener's failure must not affect the others
        _one_by_one(job, plan, store, e)
        return
    if not store.has_victim(job.victim):
        _prepare(victim, plan, job.victim)
        store.put_victim(job.victim, functools.partial(save_victim, victim))
    for cell, attack in zip(listening, attacks, strict=True):
        try:
            _judge(victim, cell, attack, plan, store)
        except Exception as e:  # noqa: BLE001 - whatever a plug-in raises becomes a row
            store.put_cell(cell.key, _failed(cell, plan, reason_of(e)), {})


def _one_by_one(job: Job, plan: Plan, store: Store, error: Exception) -> None:
    """Train again with each listener alone; if that fails too, train without the listener."""
    if not job.cells or plan.victims[job.victim].recipe["active"] is not None:
        raise error
    if len(job.cells) > 1:
        for key in job.cells:
            _run(dataclasses.replace(job, cells=(key,)), plan, store)
        return
    cell = plan.cells[job.cells[0]]
    store.put_cell(cell.key, _failed(cell, plan, reason_of(error)), {})
    if not store.has_victim(job.victim):
        _run(dataclasses.replace(job, cells=()), plan, store)


def _prepare(victim: Victim, plan: Plan, key: str) -> None:
    """Let the referee compute the scores that all cells of a victim are compared with, once."""
    for cell in plan.cells.values():
        if cell.victim == key:
            attack = attack_from(cell.attack, "attack")
            prepare(victim, attack, grants=cell.grants, role=cell.attack.get("role"))


def _attack(cell: CellPlan, plan: Plan, store: Store) -> None:
    attack = _as_on_pilot(cell, store)
    _judge(_stored(plan, cell.victim, store), cell, attack, plan, store)


def _as_on_pilot(cell: CellPlan, store: Store) -> AnyAttack:
    """A cell's attack, with the parameters that were chosen on its pilot victim, if it has one."""
    attack = attack_from(cell.attack, "attack")
    if cell.pilot is None:
        return attack
    pilot = store.cell(cell.pilot)
    if pilot["status"] == "failed":
        raise RuntimeError(f"its rehearsal on the pilot victim failed: {pilot['reason']}")
    return settled(attack, pilot["tuned"])


def _judge(victim: Victim, cell: CellPlan, attack: AnyAttack, plan: Plan, store: Store) -> None:
    columns = _cell_columns(cell, plan)
    if isinstance(attack, NoAttack):
        row = Row(**victim_columns(victim), **environment(), **columns)
        store.put_cell(cell.key, _plain(_record([row])), {})
        return
    result = api.attack(
        victim, attack, seed=cell.attacker_seed, grants=cell.grants, role=cell.attack.get("role"),
        isolate=cell.isolated,
    )  # fmt: skip
    tuned = result.outcome.tuned
    if cell.pilot is not None:
        tuned = store.cell(cell.pilot)["tuned"]
        columns |= {"tuned": f"{tuned_text(tuned)} (on the pilot)"}
    rows = [dataclasses.replace(row, **columns) for row in result.records]
    images = {f"score/{k}": v for k, v in result.verdict.scores.items()}
    if isinstance(result.outcome, Reconstruction):
        images["images"] = result.outcome.images[:SHOWN]
        images["truth"] = result.verdict.truth.x[:SHOWN]
    record = _record(rows, tuned=tuned) | {
        "curve": result.outcome.curve, "progress": result.verdict.progress,
        "diagnostics": result.outcome.diagnostics,
    }  # fmt: skip
    store.put_cell(cell.key, _plain(record), images)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it will be read from the store."""
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _cell_columns(cell: CellPlan, plan: Plan) -> dict[str, Any]:
    """The columns that the plan determines: the cell, and the attack as the spec gives it."""
    table = {k: v for k, v in cell.attack.items() if k != "name"}
    attack = attack_from(cell.attack, "attack")
    return {
        **attack_columns(attack, seed=cell.attacker_seed),
        "attack": cell.attack["name"],
        "attack_given": json.dumps(table, sort_keys=True),
        "experiment": plan.name,
        "cell": cell.key,
    }


def _guessing(victim: VictimPlan) -> Columns:
    """The columns about constant guesses; none if the data can't be read."""
    try:
        return guessing_columns(split_of(victim.recipe))
    except SLToolkitError:
        return {}


def _made(
    recipe: Table, listening: Sequence[CellPlan], attacks: Sequence[AnyAttack]
) -> Victim:  # fmt: skip
    shared: dict[str, Any] = {}
    if listening:
        shared = {"attacker_seed": listening[0].attacker_seed, "grants": listening[0].grants}
    listeners = [a for a in attacks if isinstance(a, Listener)]
    active = next((a for a in attacks if isinstance(a, ActiveAttack)), None)
    return make_victim(recipe, listeners=listeners, active=active, **shared)


_held: dict[str, Victim] = {}


def _stored(plan: Plan, key: str, store: Store) -> Victim:
    if key not in _held:  # the cells of a victim follow each other, so keep the last victim
        made = stored_victim(plan.victims[key].recipe, store.victim_path(key))
        _held.clear()
        _held[key] = made
    return _held[key]
