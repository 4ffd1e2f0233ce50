"""The processes of a served run in float64, for `test_serve`: `python serving.py JOB.json`.

WORLD_SIZE, MASTER_ADDR and MASTER_PORT say how many, and where they meet. The job lists cases, one
after the other; each may have a fault: a process that kills or stops itself after some messages.
All are forks of one process, because importing torch takes longer than what they do.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, ClassVar, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import NoDefense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.data.samples import Samples, Split
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SLToolkitError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.referee.listening import open_listener
from sltoolkit.referee.sessions import ListeningSession
from sltoolkit.serve.process import process_at, run_process
from sltoolkit.streams import Stream
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.message import Message
from sltoolkit.wire.reducers import REDUCERS
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Ear, Wire

CLASSES = 3
LIMIT = 600.0
"""Seconds after which a process counts as hanging."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """The setup of the listeners."""

    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class Scribe(Listener[Setup]):
    """A listener that hashes all that it hears, and its seat's network."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Setup
    view: ClassVar[type] = Setup
    citation: ClassVar[str] = "none"

    def open(self, setup: Setup, first: BatchView, *, rng: Stream) -> "ScribeState":
        return ScribeState()


@final
@dataclass(frozen=True, kw_only=True)
class Spy(Listener[Setup]):
    """A scribe on the wire for messages about samples; weights may pass where it can't hear."""

    roles: ClassVar[tuple[Role, ...]] = ("eavesdropper",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Setup
    view: ClassVar[type] = Setup
    citation: ClassVar[str] = "none"

    def open(self, setup: Setup, first: BatchView, *, rng: Stream) -> "ScribeState":
        return ScribeState(frozenset({"weights", "buffers"}))


@final
class ScribeState(ListenerState):
    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self.hash, self.rounds, self.ignored = hashlib.sha256(), 0, ignored

    def hear(self, heard: BatchView) -> None:
        self.rounds += 1
        network = heard.network() if heard.network else nn.Identity()
        messages = [(k, t) for k, t in heard.messages.items() if k[0] not in self.ignored]
        for key, t in sorted([*messages, *network.state_dict().items()], key=str):
            self.hash.update(f"{key} {heard.step} {heard.ids.tolist()}".encode())
            self.hash.update(t.detach().contiguous().numpy().tobytes())

    def finish(self, view: Any) -> Any:
        raise NotImplementedError


@final
@dataclass(eq=False)
class Fault(Ear):
    """An ear that ends or stops this process after it heard a number of messages."""

    after: int
    signal: int

    def wants(self, message: Message) -> bool:
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), self.signal)
        return False

    def note(self, message: Message) -> None: ...

    def close(self, turn: Turn) -> None: ...


def data() -> Split:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(30, 1, 6, 6, generator=g, dtype=torch.float64)
    y = torch.randint(CLASSES, (30,), generator=g)
    ids = torch.arange(30) + 1000
    whole = Samples(x=x, y=y, ids=ids, groups=ids)
    return Split(
        name="random", private_train=whole[:22], private_holdout=whole[22:26], aux=whole[26:],
        classes=tuple("abc"),
    )  # fmt: skip


def network(parts: int) -> tuple[nn.Module, ...]:
    with Stream(1).scope():
        head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh()).double()
        middle = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 5)).double()
        tail = nn.Sequential(nn.Tanh(), nn.Linear(5, CLASSES)).double()
    return (head, middle, tail) if parts == 3 else (head, nn.Sequential(middle, tail))


def seated(case: dict[str, Any]) -> tuple[Run, int]:
    options = dict(case["protocol"])
    protocol = PROTOCOLS[options.pop("name")](**options)
    defense = DEFENSES[case["defense"]]() if "defense" in case else NoDefense()
    training = Training(
        epochs=case.get("epochs", 2),
        batch_size=case.get("batch_size", 6),
        lr=0.02,
        optimizer=case.get("optimizer", "adam"),
        momentum=case.get("momentum", 0.0),
    )
    reducer = dict(case.get("reducer", {}))
    codec = REDUCERS[reducer.pop("name")](**reducer).begin() if reducer else None
    run = seat_parties(
        network(protocol.parts), data(), protocol=protocol, defense=defense, training=training,
        rng=Stream(0), wire=Wire(codec=codec),
    )  # fmt: skip
    return run, training.epochs


def run_of(**protocol: Any) -> Run:
    """A seated run of two clients."""
    return seated({"protocol": {"name": "vanilla", "clients": 2, **protocol}})[0]


def scribes(run: Run) -> list[tuple[ListeningSession, Ear]]:
    opened = [open_listener(x, run, seed=0, grants={"aux"}) for x in (Scribe(), Spy())]
    return [(attached.listener_state, ear) for attached, ear in opened]  # type: ignore[misc]


def heard(attached: list[tuple[ListeningSession, Ear]]) -> list[str]:
    return [_written(session) for session, _ in attached]


def _written(session: ListeningSession) -> str:
    try:
        state: Any = session.state
    except SLToolkitError:  # a new listener heard nothing
        state = ScribeState()
    return f"{state.rounds} {state.hash.hexdigest()}"


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in network.state_dict().items()}


def main(job: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    timeout = float(job["timeout"])
    store, number, size = next(iter(rendezvous("env://", timeout=timedelta(seconds=60))))
    for i, case in enumerate(job["cases"]):
        run, epochs = seated(case)
        attached: list[tuple[ListeningSession, Ear]] = []

        def ears(
            run: Run,
            case: dict[str, Any] = case,
            attached: list[tuple[ListeningSession, Ear]] = attached,
        ) -> Sequence[Ear]:
            if case.get("listen") and number == 0:
                attached += scribes(run)
            faults = [Fault(n, s) for r, n, s in case.get("faults", []) if r == number]
            return [*(ear for _, ear in attached), *faults]

        if case.get("gone") == number:  # after the rendezvous and before the connection
            dist.init_process_group = lambda *_, **__: os._exit(3)
        out = Path(case["out"])
        process = process_at(PrefixStore(str(i), store), number, size, timeout)
        run_process(
            process, run, epochs=epochs, out=out, plan=case["protocol"], ears=ears,
            resume=case.get("resume", False),
        )  # fmt: skip
        if attached:
            (out / "heard.json").write_text(json.dumps(heard(attached)))


def serve(rank: int, job: dict[str, Any], err: Path) -> None:
    """Run the cases as one of the processes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["RANK"] = str(rank)
    with err.open("w") as file:
        os.dup2(file.fileno(), 2)
    try:
        main(job)
    except SLToolkitError as error:
        os.write(2, f"error: {error}\n".encode())
        os._exit(1)


def serve_all(job: dict[str, Any], folder: Path) -> list[dict[str, float]]:
    """Run all processes: the exit code of each, and its seconds after the first one's end.

    A process that may stop itself is not waited for.
    """
    fork = multiprocessing.get_context("fork")
    size = int(os.environ["WORLD_SIZE"])
    processes = [
        fork.Process(target=serve, args=(r, job, folder / f"{r}.err")) for r in range(size)
    ]
    stands = {r for case in job["cases"] for r, *_ in case.get("faults", [])}
    ended: dict[int, float] = {}
    limit = time.monotonic() + LIMIT
    for process in processes:
        process.start()
    try:
        while not set(range(size)) <= ended.keys() | stands and time.monotonic() < limit:
            running = [process.sentinel for r, process in enumerate(processes) if r not in ended]
            gone = wait(running, timeout=limit - time.monotonic())
            at = time.monotonic()
            ended |= {r: at for r, process in enumerate(processes) if process.sentinel in gone}
    finally:
        for process in processes:
            process.kill()
            process.join()
    first = min(ended.values(), default=limit)
    return [
        {"code": process.exitcode or 0, "seconds": ended.get(r, limit) - first}
        for r, process in enumerate(processes)
    ]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    found = serve_all(json.loads(path.read_text()), path.parent)
    path.with_name("ended.json").write_text(json.dumps(found))
