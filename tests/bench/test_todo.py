"""The jobs that are left: only what is missing, and which job waits for which."""

from pathlib import Path
from typing import Any

import pytest
from support.experiment import tiny

from sltoolkit.bench.engine import InProcess
from sltoolkit.bench.plan import Plan
from sltoolkit.bench.run import load_plan
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job, jobs_of

LISTENER = {"name": "pcat", "lr": 1e-3, "decoder_lr": 1e-3, "refine_steps": 0}


def planned(**changes: Any) -> Plan:
    return load_plan(tiny(**changes))[1]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_job_is_called_by_what_it_makes() -> None:
    assert Job(kind="run", victim="v", cells=()).id == "run:v"
    assert Job(kind="run", victim="v", cells=("a", "b")).id == "run:v:a"
    assert Job(kind="cell", victim="v", cells=("a",)).id == "cell:a"


def test_every_victim_is_trained_once_and_every_cell_waits_for_its_own(store: Store) -> None:
    plan = planned()

    jobs = jobs_of(plan, store)

    runs = [job for job in jobs if job.kind == "run"]
    cells = [job for job in jobs if job.kind == "cell"]
    assert {job.victim for job in runs} == set(plan.victims)
    assert len(runs) == len(plan.victims)
    assert {job.cells[0] for job in cells} == set(plan.cells)
    for job in cells:
        assert job.after == (f"run:{plan.cells[job.cells[0]].victim}",)


def test_every_job_comes_after_those_it_needs(store: Store) -> None:
    jobs = jobs_of(planned(), store)

    ids = [job.id for job in jobs]
    assert all(ids.index(need) < ids.index(job.id) for job in jobs for need in job.after)


def test_listeners_of_one_seed_with_the_same_grants_share_a_run(store: Store) -> None:
    plan = planned(
        seeds=[0], defense=[{"name": "none"}], grants=["aux", "release"],
        attack=[LISTENER, {**LISTENER, "lr": 2e-3}, {**LISTENER, "grants": ["client_arch"]}],
    )  # fmt: skip

    runs = [job for job in jobs_of(plan, store) if job.kind == "run"]

    assert sorted(len(job.cells) for job in runs) == [1, 2]


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    plan, store = planned(seeds=[0], defense=[{"name": "none"}]), Store(tmp_path)
    jobs = jobs_of(plan, store)
    InProcess().run(jobs[:2], plan, store, lambda _: None)

    left = jobs_of(plan, store)

    assert [job.kind for job in left] == ["cell"]
    assert left[0].cells == jobs[2].cells
    assert left[0].after == ()
