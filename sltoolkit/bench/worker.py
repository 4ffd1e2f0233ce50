"""A worker process: it reads jobs from standard input, stores results, and answers `done`."""

import gc
import json
import os
import queue
import sys
import threading
from pathlib import Path

from sltoolkit.bench.jobs import execute
from sltoolkit.bench.run import stored_plan
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job


def main(folder: str) -> None:
    """Run jobs of the plan in `folder` until standard input closes."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a plug-in's prints must not be answers
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    store = Store(Path(folder))
    plan = stored_plan(store.folder)
    gc.freeze()  # imported objects stay, so garbage collection need not examine them
    while True:
        table = json.loads(lines.get())
        table |= {"cells": tuple(table["cells"]), "after": tuple(table["after"])}
        execute(Job(**table), plan, store)
        answers.write("done\n")
        answers.flush()


def _read(lines: queue.Queue[str]) -> None:
    """Pass jobs on; when standard input closes, end the process, even in the middle of a job."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
