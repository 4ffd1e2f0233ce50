"""One process of a run: seat all parties, keep those that live here, train, store the result."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.serve.carrier import Distributed
from sltoolkit.serve.liveness import Liveness
from sltoolkit.serve.placeholders import homes_of, keep_local, name_samples
from sltoolkit.serve.state import Checkpoints, ProcessState, check_resumable, digest, write
from sltoolkit.serve.transport import GroupTransport, connect
from sltoolkit.training.cast import Clock
from sltoolkit.training.phases import phase_of_epochs
from sltoolkit.training.run import Run
from sltoolkit.wire.message import Seat, tolls_record
from sltoolkit.wire.wire import Ear, Wire


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Process:
    """This process among all processes of a run.

    Attributes:
        number: its rank; 0 is the server, k is client k - 1.
        size: number of processes.
        store: the store through which the processes find each other.
        liveness: tells the other processes why this one stops, and hears why they do.
        gpu: whether it has its own GPU; if all processes do, tensors on GPUs go over nccl.
    """

    number: int
    size: int
    store: Store
    liveness: Liveness
    gpu: bool = False


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """What a process has at the end.

    Attributes:
        state: its parties, and the bytes and losses of the whole run.
        facts: the contents of its JSON file.
    """

    state: ProcessState
    facts: dict[str, Any] = field(default_factory=dict)


def this_process(timeout: float) -> Process:
    """This process, as `torchrun` or RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe it.

    Args:
        timeout: seconds after which a silent process is at fault.

    Raises:
        SpecError: if one of these variables is missing.
        ProtocolError: if no process answers at that address.
    """
    try:
        meeting = rendezvous("env://", timeout=timedelta(seconds=timeout))
        store, number, size = next(iter(meeting))
    except ValueError as e:
        raise SpecError(f"start it with torchrun, or set what it would set ({e})") from None
    except RuntimeError as e:
        reason = str(e).splitlines()[0]
        raise ProtocolError(
            f"no process answers at MASTER_ADDR and MASTER_PORT ({reason})"
        ) from None
    return process_at(PrefixStore("sltoolkit", store), number, size, timeout)


def process_at(store: Store, number: int, size: int, timeout: float) -> Process:
    """This process among those that meet at a store; one store serves one run."""
    names = [f"process {r}" for r in range(size)]
    own = PrefixStore("liveness", store).clone()  # type: ignore[attr-defined]  # a connection
    liveness = Liveness(own, number, names, timeout)
    return Process(number=number, size=size, store=store, liveness=liveness)


def run_process(
    process: Process,
    run: Run,
    *,
    epochs: int,
    out: Path,
    plan: Any,
    resume: bool = False,
    ears: Callable[[Run], Sequence[Ear]] = lambda run: (),
) -> Finished:
    """Train a seated run together with the other processes, each of which calls this.

    Args:
        process: this process.
        run: the run, seated alike in every process; only the samples of the parties that live
            here matter, and all other parties become placeholders.
        epochs: the number of epochs of the training.
        out: the folder for checkpoints and results.
        plan: plain JSON that identifies the run; must be the same in all processes.
        resume: go on from the last epoch of which all processes have a checkpoint.
        ears: makes the ears that hear what the parties here hear, while all are still seated.

    Raises:
        ProtocolError: if a process fails, saying which seat and why. All others stop with the same
            reason.
        SpecError: if the number of processes doesn't fit, or the run can't be distributed.
    """
    homes = homes_of(run.cast)
    _check_size(process, homes)
    process.liveness.names[:] = _names(homes, process.size)
    here = [seat for seat, home in homes.items() if home == process.number]
    if resume:
        check_resumable(run)
    heard = ears(run)
    device = next(_devices(run), torch.device("cpu"))
    keep_local(run, here)
    with _telling(process.liveness):
        transport = connect(
            process.number, process.size, process.store, process.liveness, gpu=process.gpu
        )
        carrier = Distributed(transport, homes, classes=run.task.classes, device=device)
        run.cast.wire = Wire(heard, codec=run.cast.wire.codec, carrier=carrier)
        return _train(transport, run, carrier, epochs, out, plan, resume)


def _train(
    transport: GroupTransport,
    run: Run,
    carrier: Distributed,
    epochs: int,
    out: Path,
    plan: Any,
    resume: bool,
) -> Finished:
    plan = digest(plan)
    _agree(transport, plan)
    _introduce(transport, run)
    state = ProcessState(run, Clock())
    kept = Checkpoints(out, transport.rank, plan)
    done = transport.least(max(kept.epochs(), default=0) if resume else 0)
    kept.forget(done)
    kept.load(state, done)
    start, cpu = time.perf_counter(), time.process_time()
    for phase in phase_of_epochs(run.defense, epochs)[done:]:
        run.cast.learn(phase == "train")
        run.protocol.epoch(run.cast, state.clock, phase)
        state.clock.epoch += 1
        state.losses.append(_loss(transport, run))
        transport.least(state.clock.epoch)
        kept.save(state)
    seconds = time.perf_counter() - start
    facts = {
        "rank": transport.rank,
        "seats": [str(s) for s, home in homes_of(run.cast).items() if home == transport.rank],
        "resumed_after": done,
        "epochs": state.clock.epoch,
        "losses": state.losses,
        "bytes": tolls_record(state.tolls),
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "waiting_seconds": carrier.waiting,
        "wire_seconds": carrier.moving,
        "wire_share": carrier.moving / seconds if seconds else 0.0,
        "sent_bytes": carrier.sent,
        "plan": plan,
    }
    write(
        out / f"rank-{transport.rank}.safetensors", state.weights(), {"seats": str(facts["seats"])}
    )
    (out / f"rank-{transport.rank}.json").write_text(json.dumps(facts, indent=1))
    transport.least(0)  # no process ends before all have written
    return Finished(state=state, facts=facts)


@contextmanager
def _telling(liveness: Liveness) -> Iterator[None]:
    """Tell the others if this process stops before its time."""
    try:
        yield
    except BaseException as e:
        liveness.fail(f"{liveness.name}: {type(e).__name__}: {e}")
        liveness.close(failed=True)
        raise
    liveness.close(failed=False)
    dist.destroy_process_group()


def _check_size(process: Process, homes: dict[Seat, int]) -> None:
    needed = max(homes.values()) + 1
    if process.size != needed:
        seats = ", ".join(_names(homes, needed))
        raise SpecError(
            f"this protocol needs {needed} processes, one for each of {seats}, got {process.size}: "
            f"start it with torchrun --nproc-per-node {needed}"
        )


def _names(homes: dict[Seat, int], size: int) -> list[str]:
    first = {home: str(seat) for seat, home in reversed(homes.items())}
    return [first[r] for r in range(size)]


def _agree(transport: GroupTransport, plan: str) -> None:
    """Refuse to start unless all processes are about to run the same."""
    words = torch.tensor([int(plan[i : i + 15], 16) for i in range(0, 60, 15)])
    for r, theirs in enumerate(transport.gathered(words)):
        if not torch.equal(theirs, words):
            raise transport.fail(
                f"{transport.liveness.names[r]}: runs another experiment, or other versions, than "
                f"{transport.liveness.name}"
            )


def _introduce(transport: GroupTransport, run: Run) -> None:
    """Tell the others the ids of the samples that the clients here hold, and nothing else."""
    homes = homes_of(run.cast)
    for member in run.cast.clients:
        mine = homes[member.seat] == transport.rank
        ids = member.samples.ids if mine else torch.empty(0, dtype=torch.int64)
        told = transport.gathered(ids)[homes[member.seat]]
        if not mine:
            name_samples(member, told)


def _loss(transport: GroupTransport, run: Run) -> float:
    """The epoch's mean loss over the losses that are computed here; 0 where none is."""
    tails = [m.tail for m in run.cast.clients if m.tail is not None]
    hosts = [h.party for h in run.cast.servers if isinstance(h.party, HonestServer)]
    taken = [party.take_losses() for party in (hosts or tails)]
    batches = [losses.cpu() for losses in taken if not losses.is_meta and len(losses)]
    if not batches:
        return 0.0
    mean = torch.cat(batches).mean()
    if not bool(mean.isfinite()):
        raise transport.fail(
            f"{transport.liveness.name}: the training diverged (the loss is not a finite "
            "number): lower the learning rate or the defense's strength"
        )
    return float(mean)


def _devices(run: Run) -> Iterator[torch.device]:
    """The device of each weight; while all are seated, this is where the process computes."""
    for network in ProcessState(run, Clock()).networks().values():
        for weight in network.parameters():
            yield weight.device
