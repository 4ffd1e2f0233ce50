"""The bench on worker processes: bit-identical results, and what happens if workers die."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.experiment import comparable, majority_share, same_tensors, tiny

from sltoolkit.bench import engine as engines
from sltoolkit.bench.run import Finished, load_plan, run_bench
from sltoolkit.bench.todo import Job

Start = Callable[[Any, Job], None]


def test_two_workers_give_the_same_bits_and_one_that_is_killed_a_failed_row(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plan = load_plan(tiny())
    victim = next(c for c in plan.cells.values() if c.attack["name"] == "whitebox").key
    start: Start = engines._Worker.start

    def killed(self: Any, job: Job) -> None:
        doomed = job.id == f"cell:{victim}"
        if doomed:  # it must not end before it is killed
            os.kill(self._process.pid, signal.SIGSTOP)
        start(self, job)
        if doomed:
            os.kill(self._process.pid, signal.SIGKILL)

    monkeypatch.setattr(engines._Worker, "start", killed)
    broken = run_bench(tiny(), tmp_path, workers=2)
    assert broken.failed == 1
    (row,) = broken.rows[broken.rows.status == "failed"].to_dict("records")
    assert row["cell"] == victim
    assert row["reason"] == "its worker process died (killed, perhaps out of memory)"
    assert row["chance"] == majority_share()
    survivors = broken.rows[broken.rows.status == "ok"][reference.rows.columns]
    expected = reference.rows[reference.rows.cell != victim]
    assert comparable(survivors) == comparable(expected)
    table = pd.read_csv(tmp_path / "table.csv").set_index("defense")
    assert table["reconstruction_incomplete"].to_dict() == {"none": True, "gaussian_noise": False}
    assert run_bench(tiny(), tmp_path).failed == 1  # it stays failed until a retry is requested
    mended = run_bench(tiny(), tmp_path, retry_failed=True)
    assert mended.failed == 0
    assert comparable(mended.rows) == comparable(reference.rows)
    assert same_tensors(tmp_path, reference.folder)
    assert (tmp_path / "table.csv").read_bytes() == (reference.folder / "table.csv").read_bytes()


@pytest.mark.slow
def test_an_idle_worker_that_dies_is_replaced(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    begin: Callable[..., None] = engines._Worker.__init__

    def dying(self: Any, *args: Any) -> None:
        begin(self, *args)
        made.append(self)
        if len(made) == 1:  # the last idle worker is taken first
            self._process.kill()

    monkeypatch.setattr(engines._Worker, "__init__", dying)
    finished = run_bench(tiny(), tmp_path, workers=5)
    assert len(made) == 5 + 1
    assert finished.failed == 0
    assert comparable(finished.rows) == comparable(reference.rows)
    assert same_tensors(tmp_path, reference.folder)
