"""Vanilla split learning by two processes on this machine, against the same run in one process.

    python benchmarks/served_run.py [EPOCHS] [--small]

A client and a server talk over gloo on the loopback, with one thread each; the run in one process
is timed before and after. The two parties can't work on a batch at the same time, so with a wire
that costs nothing, the ratio would be 1.

It needs free cores, two per process. Without them, gloo's thread, woken by an answer, takes the
core of the thread that is still sending and holds its lock, and then spins on this lock until the
scheduler stops it; small messages and a busy client (`fc1`) suffer most. `chrt -b 0 python ...`
(threads that wake up don't preempt others) reduced the processor time from 2.7 to 1.9 times that of
one process.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
from command_line import parser
from split_epoch import BATCH, random_split
from torch.distributed.rendezvous import rendezvous

from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla
from sltoolkit.serve.process import process_at, run_process
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties

SHAPE, CUTS, BATCHES = (1, 28, 28), ("relu2", "fc1"), 40


def seated(cut: str, epochs: int, batches: int) -> Run:
    """A seated run of LeNet with one client."""
    with Stream(0).scope():
        parts = models.cut(models.build("lenet", shape=SHAPE, classes=10), cut)
    return seat_parties(
        parts, random_split(batches * BATCH, SHAPE), protocol=Vanilla(), defense=NoDefense(),
        training=Training(epochs=epochs, batch_size=BATCH), rng=Stream(0),
    )  # fmt: skip


def alone(cut: str, epochs: int, batches: int) -> tuple[float, float]:
    """Seconds and processor seconds of the run in one process."""
    run = seated(cut, epochs, batches)
    start, cpu = time.perf_counter(), time.process_time()
    run_phases(run, epochs)
    return time.perf_counter() - start, time.process_time() - cpu


def together(cut: str, epochs: int, batches: int) -> list[dict[str, float]]:
    """The records of the server and of the client about their run."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as out:
        env = os.environ | {
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        command = [sys.executable, __file__, str(epochs), "--rank-of", cut, str(batches), out]
        processes = [subprocess.Popen(command, env=env | {"RANK": str(r)}) for r in range(2)]
        if sum(abs(process.wait()) for process in processes):
            raise SystemExit("a process failed")
        files = [Path(out) / f"rank-{r}.json" for r in range(2)]
        return [json.loads(file.read_text()) for file in files]


def rank(cut: str, epochs: int, batches: int, out: str) -> None:
    """Run one of the two processes."""
    torch.set_num_threads(1)
    store, number, size = next(iter(rendezvous("env://", timeout=timedelta(seconds=60))))
    me = process_at(store, number, size, 60.0)
    run_process(me, seated(cut, epochs, batches), epochs=epochs, out=Path(out), plan={})


def measure(epochs: int, *, batches: int = BATCHES) -> dict[str, float]:
    """Per cut: throughputs, ratios to one process, and shares of the server's time."""
    found: dict[str, float] = {}
    for cut in CUTS:
        runs = [alone(cut, epochs, batches)]
        server, client = together(cut, epochs, batches)
        runs.append(alone(cut, epochs, batches))
        seconds, cpu = (statistics.mean(column) for column in zip(*runs, strict=True))
        samples = epochs * batches * BATCH
        found |= {
            f"{cut}_samples_per_second_alone": samples / seconds,
            f"{cut}_samples_per_second_served": samples / server["seconds"],
            f"{cut}_throughput_ratio": seconds / server["seconds"],
            f"{cut}_cpu_ratio": (server["cpu_seconds"] + client["cpu_seconds"]) / cpu,
            f"{cut}_wire_share": server["wire_share"],
            f"{cut}_waiting_share": server["waiting_seconds"] / server["seconds"],
        }
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    command = parser(__doc__)
    command.add_argument("epochs", nargs="?", type=int, default=10)
    command.add_argument("--rank-of", nargs=3, help=argparse.SUPPRESS)  # it starts its ranks so
    given = command.parse_args()
    if given.rank_of:
        cut, batches, out = given.rank_of
        rank(cut, given.epochs, int(batches), out)
    else:
        epochs, batches = (1, 2) if given.small else (given.epochs, BATCHES)
        for key, value in measure(epochs, batches=batches).items():
            print(f"{key:36} {value:.3f}")
