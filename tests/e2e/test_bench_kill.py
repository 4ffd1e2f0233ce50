"""The real command, killed and interrupted: no finished result is lost, and none differs."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.experiment import comparable, same_tensors, tiny, toml

from sltoolkit.bench.run import Finished, run_bench, write_report

LONGEST = 300.0
"""Seconds after which a process counts as hanging."""

HALTING = """
import os, signal
from sltoolkit.bench import run
from sltoolkit.cli.app import main

ended = run._Ticker.ended

def halting(self, job):
    ended(self, job)
    if self._done == {jobs}:
        os.kill(os.getpid(), signal.SIGSTOP)

run._Ticker.ended = halting
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
main()
"""
"""The command, which stops itself after some jobs, so that even slow tests find it there."""


def command(folder: Path, workers: int, halt: int | None = None) -> list[str]:
    spec = folder / "spec.toml"
    spec.write_text(toml(tiny()))
    program = ["-m", "sltoolkit"] if halt is None else ["-c", HALTING.format(jobs=halt)]
    arguments = ["bench", str(spec), "--out", str(folder / "out"), "--workers", str(workers)]
    return [sys.executable, *program, *arguments]


@contextmanager
def started(folder: Path, workers: int, halt: int | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(folder, workers, halt),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def results(folder: Path) -> dict[str, int]:
    """The stored results, and when each was written."""
    out = folder / "out"
    kept = [p for part in ("cells", "victims") for p in (out / part).glob("[!.]*")]
    return {f"{p.parent.name}/{p.name}": p.stat().st_mtime_ns for p in kept}


def until(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until `count` results are stored, or all."""
    end = time.monotonic() + LONGEST
    while len(results(folder)) < count and process.poll() is None:
        assert time.monotonic() < end, "no progress"
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    try:
        own = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended already
        return []
    return [*own, *(d for child in own for d in descendants(child))]


def state(pid: int) -> str:
    """Linux's letter for a process's state: Z has ended, T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def until_halted(process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + LONGEST
    while state(process.pid) != "T":
        assert process.poll() is None, "it ended before it stood still"
        assert time.monotonic() < end, "no progress"
        time.sleep(0.005)


def killed(process: subprocess.Popen[str]) -> None:
    """Kill the command alone, as `kill -9` does; its workers must notice and end."""
    workers = descendants(process.pid)
    process.kill()
    process.wait()
    end = time.monotonic() + LONGEST
    while any(state(worker) != "Z" for worker in workers):
        assert time.monotonic() < end, "worker processes outlive their parent"
        time.sleep(0.02)


def finished(folder: Path, workers: int) -> None:
    done = subprocess.run(
        command(folder, workers), capture_output=True, text=True, timeout=LONGEST, check=False
    )
    assert done.returncode == 0, done.stderr


def equal(folder: Path, reference: Finished) -> bool:
    """Whether every number and the table are those of an uninterrupted run."""
    out = folder / "out"
    table = (out / "table.csv").read_bytes()
    return (
        comparable(write_report(out).rows) == comparable(reference.rows)
        and same_tensors(out, reference.folder)
        and table == (reference.folder / "table.csv").read_bytes()
    )


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs /proc to find the worker processes"
)


@needs_proc
def test_killed_and_interrupted_it_goes_on_where_it_was(
    reference: Finished, tmp_path: Path
) -> None:
    with started(tmp_path, workers=2, halt=3) as process:
        until_halted(process)
        killed(process)
    first = results(tmp_path)
    assert 3 <= len(first) < 3 + 2  # the other worker may have finished its job
    with started(tmp_path, workers=1, halt=1) as process:
        until_halted(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=LONGEST)
    second = results(tmp_path)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: what was finished is kept")
    assert "Traceback" not in said
    assert len(second) == len(first) + 1
    assert run_bench(tmp_path / "spec.toml", tmp_path / "out").failed == 0
    last = results(tmp_path)
    assert len(last) == 4 + 8
    assert first.items() <= second.items() <= last.items()
    assert equal(tmp_path, reference)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_random_moments_the_numbers_are_the_same(
    workers: int, seed: int, reference: Finished, tmp_path: Path
) -> None:
    chance, before = random.Random(seed), dict[str, int]()
    for _ in range(4):
        with started(tmp_path, workers) as process:
            until(tmp_path, process, len(before) + chance.randrange(4))
            time.sleep(chance.uniform(0.0, 0.3))
            killed(process)
        now = results(tmp_path)
        assert before.items() <= now.items()
        before = now
    finished(tmp_path, workers)
    assert before.items() <= results(tmp_path).items()
    assert equal(tmp_path, reference)
