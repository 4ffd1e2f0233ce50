"""Engines run jobs in this process or in local worker processes, which share only the store."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import torch

from sltoolkit.bench.jobs import execute, fail
from sltoolkit.bench.plan import Plan
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job

Ended = Callable[[Job], None]


class Engine(ABC):
    """Runs jobs in an order that respects what each needs."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], plan: Plan, store: Store, ended: Ended) -> None:
        """Run all jobs; `ended` is called after each one, in this thread."""


@final
class InProcess(Engine):
    """Runs one job after the other in this process."""

    def run(self, jobs: Sequence[Job], plan: Plan, store: Store, ended: Ended) -> None:
        """Run all jobs; a victim's attacks follow its training."""
        threads = torch.get_num_threads()
        waiting, done, ids = list(jobs), set[str](), {job.id for job in jobs}
        try:
            while waiting:
                job = next_ready(waiting, done, ids)
                if job is None:
                    raise RuntimeError("the plan's jobs wait for each other")
                waiting.remove(job)
                execute(job, plan, store)
                done.add(job.id)
                ended(job)
        finally:
            torch.set_num_threads(threads)


@final
class Processes(Engine):
    """Runs jobs in `workers` processes of one thread each.

    A worker reads jobs from its standard input and ends at once when that closes, so it never
    outlives this process, even if this process is killed. If a worker dies, for example because
    memory runs out, its job becomes a failed row and the worker is replaced.
    """

    def __init__(self, workers: int) -> None:
        self._count = workers

    def run(self, jobs: Sequence[Job], plan: Plan, store: Store, ended: Ended) -> None:
        """Run all jobs; each free worker gets the next job that is ready."""
        ids = {job.id for job in jobs}
        waiting, done, busy = list(jobs), set[str](), dict[_Worker, Job]()
        events: queue.Queue[tuple[_Worker, bool]] = queue.Queue()
        idle = [_Worker(store.folder, events) for _ in range(min(self._count, len(jobs)))]
        try:
            while waiting or busy:
                while idle and (job := next_ready(waiting, done, ids)):
                    waiting.remove(job)
                    worker = idle.pop()
                    busy[worker] = job
                    worker.start(job)
                worker, alive = events.get()
                if not alive and worker in idle:  # it died while it had no job
                    worker.stop()
                    idle[idle.index(worker)] = _Worker(store.folder, events)
                    continue
                ending = busy.pop(worker)
                if not alive:
                    fail(ending, plan, store, f"its worker process died ({worker.obituary()})")
                    worker.stop()
                    worker = _Worker(store.folder, events)
                idle.append(worker)
                done.add(ending.id)
                ended(ending)
        finally:
            for worker in (*idle, *busy):
                worker.stop()


def next_ready(waiting: Sequence[Job], done: set[str], ids: set[str]) -> Job | None:
    """The first job whose needs are met; attacks on stored victims are preferred to training."""
    ready = [j for j in waiting if all(n in done or n not in ids for n in j.after)]
    return min(ready, key=lambda j: j.kind == "run", default=None)


@final
class _Worker:
    """A worker process and the thread that waits for it."""

    def __init__(self, folder: Path, events: "queue.Queue[tuple[_Worker, bool]]") -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sltoolkit.bench.worker", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            start_new_session=True,  # Ctrl-C reaches this process only, which then stops them
        )  # fmt: skip
        self._events = events
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, job: Job) -> None:
        """Hand over a job."""
        stdin = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it just died, which its thread will report
            if stdin is not None:
                stdin.write(json.dumps(vars(job)) + "\n")
                stdin.flush()

    def stop(self) -> None:
        """Stop the process at once; the store only ever holds complete results."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it never read its last job
                    pipe.close()

    def obituary(self) -> str:
        """How the process ended, in words."""
        code = self._process.wait()
        return "killed, perhaps out of memory" if code == -9 else f"exit status {code}"

    def _listen(self) -> None:
        stdout = self._process.stdout
        try:
            for _ in stdout or ():
                self._events.put((self, True))
        except ValueError:  # closed by `stop`
            return
        self._events.put((self, False))
