"""Jobs: one victim run with all its listeners, or one attack after the fact.

A job knows the plan and the store and nothing else, so it can run in any process. Whatever goes
wrong in it becomes a stored row with the reason, never a hole.
"""

import dataclasses
import functools
import gc
import json
import math
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from sltoolkit import api
from sltoolkit.bench.build import attack_from
from sltoolkit.bench.keys import THREADS
from sltoolkit.bench.plan import CellPlan, Plan, VictimPlan, facts_of
from sltoolkit.bench.recipes import arguments, from_checkpoint, split_of, trained_apart
from sltoolkit.bench.spec import Table
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener, NoAttack
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ProtocolError, SLToolkitError
from sltoolkit.parameters.grids import settled
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.referee.baselines import prepared_baselines, sees_labels
from sltoolkit.referee.mount import check_seat
from sltoolkit.rows.identity import victim_facts
from sltoolkit.rows.names import parameters_json
from sltoolkit.rows.result import Result, environment
from sltoolkit.training.checkpoint import read_victim, restore_victim, save_victim
from sltoolkit.training.victim import Victim

SHOWN = 16
"""How many reconstructions of a cell are kept for figures."""


def execute(job: Job, plan: Plan, store: Store) -> None:
    """Do a job and store what comes of it; a failure is stored as its reason."""
    torch.set_num_threads(THREADS)
    try:
        if job.kind == "run":
            _run(job, plan, store)
        else:
            _attack(plan.cells[job.cells[0]], plan, store)
    except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever a plug-in raises becomes a row
        fail(job, plan, store, reason_of(e))
    if job.kind == "run":  # networks and optimizers in cycles; not free, so not after every cell
        gc.collect()


def reason_of(error: BaseException) -> str:
    """One line on what went wrong and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SLToolkitError):
        where = ""
    lacking = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error)  # how torch says it on a CPU
    )
    kind = "out of memory" if lacking else type(error).__name__
    return f"{kind}: {' '.join(str(error).split())}{where}"


def fail(job: Job, plan: Plan, store: Store, reason: str) -> None:
    """Store the reason for every cell that can't be had now."""
    keys: Iterable[str] = job.cells
    if job.kind == "run" and not store.has_victim(job.victim):
        keys = [c.key for c in plan.cells.values() if c.victim == job.victim]
        reason = f"its victim failed: {reason}"
    for key in keys:
        if not store.has_cell(key):
            store.put_cell(key, _failure(plan.cells[key], plan, reason), {})


def _failure(cell: CellPlan, plan: Plan, reason: str) -> dict[str, Any]:
    attack = attack_from(cell.attack, "attack")
    row = _cell_facts(cell, plan, attack) | {
        "metric": None, "value": math.nan, "gain": math.nan, "status": "failed", "reason": reason,
    }  # fmt: skip
    return {"status": "failed", "reason": reason, "tuned": {}, "rows": [row]}


def _run(job: Job, plan: Plan, store: Store) -> None:
    listening = [plan.cells[key] for key in job.cells]
    try:
        attacks = [_settled(cell, store) for cell in listening]
        victim = _train(plan.victims[job.victim].recipe, listening, attacks)
    except ProtocolError:  # the training itself
        raise
    except Exception as e:  # noqa: BLE001 - one listener's fault is not the others'
        _one_by_one(job, plan, store, e)
        return
    if not store.has_victim(job.victim):
        _prepare(victim, plan, job.victim)
        store.put_victim(job.victim, functools.partial(save_victim, victim))
    for cell, attack in zip(listening, attacks, strict=True):
        try:
            _judge(victim, cell, attack, plan, store)
        except Exception as e:  # noqa: BLE001 - whatever a plug-in raises becomes a row
            store.put_cell(cell.key, _failure(cell, plan, reason_of(e)), {})


def _one_by_one(job: Job, plan: Plan, store: Store, error: Exception) -> None:
    """Train again with each listener alone, and without the ones that spoil it."""
    if not job.cells or plan.victims[job.victim].recipe["active"] is not None:
        raise error
    if len(job.cells) > 1:
        for key in job.cells:
            _run(dataclasses.replace(job, cells=(key,)), plan, store)
        return
    cell = plan.cells[job.cells[0]]
    store.put_cell(cell.key, _failure(cell, plan, reason_of(error)), {})
    if not store.has_victim(job.victim):
        _run(dataclasses.replace(job, cells=()), plan, store)


def _prepare(victim: Victim, plan: Plan, key: str) -> None:
    """Compute once what every reconstruction cell of this victim will be compared with."""
    for cell in (c for c in plan.cells.values() if c.victim == key):
        attack = attack_from(cell.attack, "attack")
        if attack.family == "reconstruction":
            role, _ = check_seat(attack, victim.protocol, cell.grants, cell.attack.get("role"))
            visible = sees_labels(victim.protocol, role, cell.grants)
            hops = victim.protocol.seats[role].hops
            prepared_baselines(victim, victim.targets, visible, hops)


def _attack(cell: CellPlan, plan: Plan, store: Store) -> None:
    attack = _settled(cell, store)
    _judge(_stored(plan, cell.victim, store), cell, attack, plan, store)


def _settled(cell: CellPlan, store: Store) -> AnyAttack:
    """The attack, with what it chose on its pilot victim where it has one."""
    attack = attack_from(cell.attack, "attack")
    if cell.pilot is None:
        return attack
    pilot = store.cell(cell.pilot)
    if pilot["status"] == "failed":
        raise RuntimeError(f"its rehearsal on the pilot victim failed: {pilot['reason']}")
    return settled(attack, pilot["tuned"])


def _judge(victim: Victim, cell: CellPlan, attack: AnyAttack, plan: Plan, store: Store) -> None:
    if isinstance(attack, NoAttack):
        row = {
            **victim_facts(victim), **_cell_facts(cell, plan, attack), **environment(),
            "metric": None, "value": math.nan, "gain": math.nan, "status": "ok", "reason": "",
        }  # fmt: skip
        record: dict[str, Any] = {"status": "ok", "reason": "", "tuned": {}, "rows": [row]}
        store.put_cell(cell.key, json.loads(json.dumps(record)), {})
        return
    result = api.attack(
        victim, attack, seed=cell.attacker_seed, grants=cell.grants, role=cell.attack.get("role")
    )
    facts = _cell_facts(cell, plan, attack)
    rows = [{**row, **facts, "status": "ok", "reason": ""} for row in _rows(result)]
    tuned = dict(result.outcome.tuned)
    if cell.pilot is not None:
        tuned = store.cell(cell.pilot)["tuned"]
        shown = ",".join(f"{k}={v}" for k, v in sorted(tuned.items()))
        rows = [{**row, "tuned": f"{shown} (on the pilot)"} for row in rows]
    images = {f"score/{k}": v for k, v in result.verdict.scores.items()}
    if isinstance(result.outcome, Reconstruction):
        images["images"] = result.outcome.images[:SHOWN]
        images["truth"] = result.verdict.truth.x[:SHOWN]
    record = {
        "status": "ok", "reason": "", "tuned": tuned, "rows": rows,
        "curve": result.outcome.curve, "progress": result.verdict.progress,
        "diagnostics": result.outcome.diagnostics,
    }  # fmt: skip
    store.put_cell(cell.key, json.loads(json.dumps(record)), images)


def _rows(result: Result) -> Sequence[dict[str, Any]]:
    return result.rows().to_dict("records")  # type: ignore[return-value]


def _cell_facts(cell: CellPlan, plan: Plan, attack: AnyAttack) -> dict[str, Any]:
    table = {k: v for k, v in cell.attack.items() if k != "name"}
    return {
        "experiment": plan.name,
        "cell": cell.key,
        **facts_of(plan.victims[cell.victim]),
        "chance": _chance(plan.victims[cell.victim]),
        "attack": cell.attack["name"],
        "attack_params": parameters_json(attack_from(cell.attack, "attack")),
        "attack_given": json.dumps(table, sort_keys=True),
        "family": attack.family,
        "attacker_seed": cell.attacker_seed,
    }


def _chance(victim: VictimPlan) -> float:
    """Accuracy of guessing among the classes; NaN where the data can't be read."""
    try:
        return 1 / len(split_of(victim.recipe).classes)
    except SLToolkitError:
        return math.nan


def _train(
    recipe: Table, listening: Sequence[CellPlan], attacks: Sequence[AnyAttack]
) -> Victim:  # fmt: skip
    if recipe["checkpoint"] is not None:
        return from_checkpoint(recipe)
    if not PROTOCOLS[recipe["protocol"]["name"]].learns:
        return trained_apart(recipe)
    listeners = [a for a in attacks if isinstance(a, Listener)]
    active = next((a for a in attacks if isinstance(a, ActiveAttack)), None)
    shared: dict[str, Any] = (
        {"attacker_seed": listening[0].attacker_seed, "grants": listening[0].grants}
        if listening else {}
    )  # fmt: skip
    return api.train(**arguments(recipe), listeners=listeners, active=active, **shared)


_held: dict[str, Victim] = {}


def _stored(plan: Plan, key: str, store: Store) -> Victim:
    if key not in _held:  # the cells of a victim come in a row: keep the last one
        recipe, path = plan.victims[key].recipe, store.victim_path(key)
        if recipe["checkpoint"] is not None:
            made = restore_victim(from_checkpoint(recipe), *read_victim(path))
        elif not PROTOCOLS[recipe["protocol"]["name"]].learns:
            blank = {**recipe, "training": {**recipe["training"], "epochs": 0}}
            made = restore_victim(trained_apart(blank), *read_victim(path))
        else:
            made = api.restored(path, **arguments(recipe))
        _held.clear()
        _held[key] = made
    return _held[key]
