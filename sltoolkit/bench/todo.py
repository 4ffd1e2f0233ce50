"""The jobs that an experiment still needs, and which of them wait for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from sltoolkit.bench.plan import CellPlan, Plan
from sltoolkit.bench.store import Store


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """A unit of work.

    Attributes:
        kind: `run` trains a victim; `cell` attacks a stored one.
        victim: key of the victim.
        cells: keys of the cells that it produces; for a run those of its listeners or hijacker.
        after: ids of the jobs that must end before it starts.
    """

    kind: Literal["run", "cell"]
    victim: str
    cells: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`run:VICTIM` (with the listeners' first cell where there are any), or `cell:CELL`."""
        if self.kind == "cell":
            return f"cell:{self.cells[0]}"
        return ":".join(("run", self.victim, *self.cells[:1]))


def jobs_of(plan: Plan, store: Store) -> list[Job]:
    """The jobs that are still to do; for every job, `after` names the jobs that it waits for.

    Listeners share a run if they have the same seed and the same grants, because a listener must
    not get what only another one was granted.
    """
    missing = [c for c in plan.cells.values() if not store.has_cell(c.key)]
    missing.sort(key=lambda c: c.reported)  # pilots first: others wait for them
    runs: dict[str, list[Job]] = {}
    maker: dict[str | None, str] = {}
    for key in dict.fromkeys(c.victim for c in missing):
        groups: dict[Any, list[CellPlan]] = {}
        for c in missing:
            if c.victim == key and c.listens:
                groups.setdefault((c.attacker_seed, c.grants), []).append(c)
        if not groups and not store.has_victim(key):
            groups[None] = []
        runs[key] = [_run_with(key, group, maker) for group in groups.values()]
    cells = [_cell_after(c, runs[c.victim], maker) for c in missing if not c.listens]
    return [*(r for group in runs.values() for r in group), *cells]


def _run_with(victim: str, listening: Sequence[CellPlan], maker: dict[str | None, str]) -> Job:
    """A run with these listeners, after the jobs that make their pilots; `maker` is updated."""
    pilots = dict.fromkeys(maker[c.pilot] for c in listening if c.pilot in maker)
    job = Job(kind="run", victim=victim, cells=tuple(c.key for c in listening), after=tuple(pilots))
    maker.update(dict.fromkeys(job.cells, job.id))
    return job


def _cell_after(cell: CellPlan, runs: Sequence[Job], maker: dict[str | None, str]) -> Job:
    """An attack on a stored victim, after the victim's runs and the job that makes its pilot."""
    pilot = [maker[cell.pilot]] if cell.pilot in maker else []
    after = (*(r.id for r in runs), *pilot)
    job = Job(kind="cell", victim=cell.victim, cells=(cell.key,), after=after)
    maker[cell.key] = job.id
    return job
