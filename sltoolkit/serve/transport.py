"""Point-to-point transport over torch.distributed that stops when another process fails.

Tensors go over gloo; those on a GPU go over nccl where every process has its own GPU. Neither
can be interrupted, so they run on a thread, while the main thread watches for failures. Waking the
thread costs more than most messages take, so a header and its payload are one task. The sender
waits until its message is delivered: whenever a thread of ours holds gloo's lock and has to wait
for a core, gloo's own thread spins on that core for milliseconds, and this happens far more often
to senders that don't wait.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store

from sltoolkit.errors import ProtocolError
from sltoolkit.serve.liveness import EVERYBODY, LINGER, Liveness

_FOREVER = timedelta(days=365)  # a receive that gloo itself gives up breaks all connections


@final
@dataclass(eq=False)
class _Task:
    """An action that may block, for the thread."""

    action: Callable[[], Any]
    over: threading.Event = field(default_factory=threading.Event)
    error: RuntimeError | ProtocolError | None = None


@final
class GroupTransport:
    """A process's connection to all others.

    Args:
        liveness: tells the other processes about failures, and hears theirs.
        rank: the rank of this process.
        gpu: a group for tensors on a GPU; None moves them through this machine's memory.
    """

    def __init__(self, liveness: Liveness, rank: int, gpu: dist.ProcessGroup | None) -> None:
        self.liveness, self.rank = liveness, rank
        self._gpu = gpu
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def size(self) -> int:
        """The number of processes."""
        return len(self.liveness.names)

    def send(self, to: int, *tensors: Tensor) -> float:
        """Send contiguous tensors; returns the seconds until the receiver had the first one."""
        start = time.perf_counter()
        ready = 0.0

        def action() -> None:
            nonlocal ready
            works = [self._begin(dist.isend, self._movable(t), to) for t in tensors]
            for i, work in enumerate(works):
                work.wait(_FOREVER)
                ready = ready if i else time.perf_counter() - start

        self._do(action, to)
        return ready

    def receive(
        self, source: int, first: Tensor, then: Callable[[], Tensor] | None = None
    ) -> float:
        """Receive into a contiguous tensor on the CPU, then into one that the first describes.

        Args:
            source: the rank of the sender.
            first: the tensor to receive into.
            then: makes the second tensor, contiguous, once the first one has arrived.

        Returns:
            Seconds until the first tensor arrived.
        """
        start = time.perf_counter()
        waited = 0.0

        def action() -> None:
            nonlocal waited
            self._land(first, source)
            waited = time.perf_counter() - start
            second = None if then is None else then()
            if second is not None and second.numel():
                self._land(second, source)

        self._do(action, source)
        return waited

    def fail(self, sentence: str) -> ProtocolError:
        """Tell everybody why this process stops; the error gives the first reason that was told."""
        return ProtocolError(self.liveness.fail(sentence))

    def least(self, number: int) -> int:
        """The smallest number of all processes; returns once all have given theirs."""
        return min(int(t) for t in self.gathered(torch.tensor([number])))

    def gathered(self, mine: Tensor) -> list[Tensor]:
        """Every process's int64 vector, by rank; lengths may differ."""
        everyone = range(1, self.size)
        if self.rank != 0:
            self._send_vector(mine, 0)
            return [self._receive_vector(0) for _ in range(self.size)]
        found = [mine, *(self._receive_vector(r) for r in everyone)]
        for r in everyone:
            for t in found:
                self._send_vector(t, r)
        return found

    def _send_vector(self, t: Tensor, to: int) -> None:
        self.send(to, torch.tensor([len(t)]), *([t] if len(t) else []))

    def _receive_vector(self, source: int) -> Tensor:
        length, found = torch.empty(1, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
        self.receive(source, length, lambda: found.resize_(int(length)))
        return found

    def _land(self, into: Tensor, source: int) -> None:
        landed = into if self._direct(into) else torch.empty_like(into, device="cpu")
        self._begin(dist.irecv, landed, source).wait(_FOREVER)
        if landed is not into:
            into.copy_(landed)

    def _direct(self, t: Tensor) -> bool:
        return t.device.type == "cpu" or self._gpu is not None

    def _movable(self, t: Tensor) -> Tensor:
        return t if self._direct(t) else t.cpu()

    def _begin(self, how: Callable[..., dist.Work | None], t: Tensor, other: int) -> dist.Work:
        """Begin to send or receive; nccl gets bytes, since it doesn't know all dtypes."""
        if t.device.type == "cpu":
            work = how(t, other)
        else:
            work = how(t.view(-1).view(torch.uint8), other, group=self._gpu)
        if work is None:  # torch's answer to a rank that isn't in the group
            raise RuntimeError(f"rank {self.rank} is not in the group")
        return work

    def _do(self, action: Callable[[], Any], other: int) -> None:
        task = _Task(action)
        self.liveness.awaits(other)
        self._tasks.put(task)
        while not task.over.wait(0.1):
            if self.liveness.failure is not None:
                raise ProtocolError(self.liveness.failure)
            if self.liveness.stop_asked:  # perhaps because another process died: hear that first
                raise self.fail(self.liveness.asked(LINGER) or "asked to stop by a signal")
        if isinstance(task.error, ProtocolError):
            raise task.error
        if task.error is not None:
            raise self._lost(other)
        self.liveness.done()

    def _lost(self, other: int) -> ProtocolError:
        # a process that left because of another one said so before it left
        told = self.liveness.asked(2 * LINGER / 10)
        return self.fail(told or f"{self.liveness.names[other]}: the connection to it is lost")

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task.action()
            except (RuntimeError, ProtocolError) as e:
                task.error = e
            task.over.set()


def connect(
    rank: int, world: int, store: Store, liveness: Liveness, *, gpu: bool
) -> GroupTransport:
    """Connect this process with all others.

    Args:
        rank: the rank of this process.
        world: the number of processes.
        store: the store through which the processes find each other.
        liveness: tells the other processes about failures; from now on it watches.
        gpu: whether this process has its own GPU; if all do, tensors on GPUs go over nccl.

    Raises:
        ProtocolError: if a process doesn't come, or is gone before it is connected.
    """
    store.set(f"here/{rank}", "gpu" if gpu else "cpu")
    try:
        store.wait([f"here/{r}" for r in range(world)], timedelta(seconds=liveness.timeout))
    except RuntimeError:
        missing = [r for r in range(world) if not store.check([f"here/{r}"])]
        names = ", ".join(liveness.names[r] for r in missing)
        told = (
            f"{names}: not there after {liveness.timeout:g} s; "
            f"start all {world} processes, with the same MASTER_ADDR and MASTER_PORT"
        )
        raise ProtocolError(liveness.fail(told)) from None
    all_gpu = all(store.get(f"here/{r}") == b"gpu" for r in range(world))
    liveness.awaits(EVERYBODY)
    liveness.open()
    try:
        within = timedelta(seconds=liveness.timeout)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=within)
        group = dist.new_group(backend="nccl", timeout=_FOREVER) if all_gpu else None
    except RuntimeError as e:
        reason = str(e).splitlines()[0]
        # a process that is gone is found out by its silence
        gone = liveness.asked(liveness.timeout + LINGER)
        raise ProtocolError(
            liveness.fail(gone or f"{liveness.name}: can't connect with all others ({reason})")
        ) from None
    liveness.done()
    return GroupTransport(liveness, rank, group)
