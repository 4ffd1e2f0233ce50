"""Point-to-point transport over torch.distributed, from which there is a way out.

Tensors go over gloo, those on a GPU over nccl where every rank has one of its own. Neither can be
interrupted, so it happens on a thread; this one meanwhile looks at the board. To wake that thread
costs more than most messages take, so header and payload go in one errand. A send is waited for:
whenever a thread of ours holds gloo's lock and has to wait for a core, gloo's own thread spins on
that core for milliseconds, and senders that go on at once meet this far more often.
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
    """Something that blocks."""

    action: Callable[[], Any]
    over: threading.Event = field(default_factory=threading.Event)
    error: RuntimeError | ProtocolError | None = None


@final
class GroupPost:
    """A rank's connection to all others.

    Args:
        board: where failures are told.
        rank: this rank.
        gpu: a group for tensors on a GPU; None moves them through this machine's memory.
    """

    def __init__(self, board: Liveness, rank: int, gpu: dist.ProcessGroup | None) -> None:
        self.board, self.rank = board, rank
        self._gpu = gpu
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return len(self.board.names)

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
        """Receive into a contiguous tensor on the CPU, and into one that it says more about.

        Args:
            source: who sends.
            first: is received.
            then: makes the second one, contiguous, once the first one is there.

        Returns:
            Seconds until the first one was there.
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
        """Tell everybody why this rank stops; the error has the first reason that was told."""
        return ProtocolError(self.board.fail(sentence))

    def least(self, number: int) -> int:
        """The smallest of all ranks' numbers; nobody gets it before all have given theirs."""
        return min(int(t) for t in self.gathered(torch.tensor([number])))

    def gathered(self, mine: Tensor) -> list[Tensor]:
        """Every rank's int64 vector, by rank; their lengths may differ."""
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
        """Begin to send or receive; nccl doesn't know all dtypes, but bytes."""
        if t.device.type == "cpu":
            work = how(t, other)
        else:
            work = how(t.view(-1).view(torch.uint8), other, group=self._gpu)
        if work is None:  # torch's word for a rank that isn't in the group
            raise RuntimeError(f"rank {self.rank} is not in the group")
        return work

    def _do(self, action: Callable[[], Any], other: int) -> None:
        task = _Task(action)
        self.board.awaits(other)
        self._tasks.put(task)
        while not task.over.wait(0.1):
            if self.board.failure is not None:
                raise ProtocolError(self.board.failure)
            if self.board.stop_asked:  # perhaps because another process died: hear that first
                raise self.fail(self.board.asked(LINGER) or "asked to stop by a signal")
        if isinstance(task.error, ProtocolError):
            raise task.error
        if task.error is not None:
            raise self._lost(other)
        self.board.done()

    def _lost(self, other: int) -> ProtocolError:
        # who left because of somebody else said so before it left
        told = self.board.asked(2 * LINGER / 10)
        return self.fail(told or f"{self.board.names[other]}: the connection to it is lost")

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task.action()
            except (RuntimeError, ProtocolError) as e:
                task.error = e
            task.over.set()


def connect(rank: int, world: int, store: Store, board: Liveness, *, gpu: bool) -> GroupPost:
    """Connect this rank with all others.

    Args:
        rank: this one.
        world: how many.
        store: where they find each other.
        board: where failures are told; from now on it watches.
        gpu: whether this rank has a GPU of its own; if all have, tensors there go over nccl.

    Raises:
        ProtocolError: if one of them doesn't come, or is gone before it is connected.
    """
    store.set(f"here/{rank}", "gpu" if gpu else "cpu")
    try:
        store.wait([f"here/{r}" for r in range(world)], timedelta(seconds=board.timeout))
    except RuntimeError:
        missing = [r for r in range(world) if not store.check([f"here/{r}"])]
        told = (
            f"{', '.join(board.names[r] for r in missing)}: not there after {board.timeout:g} s; "
            f"start all {world} processes, with the same MASTER_ADDR and MASTER_PORT"
        )
        raise ProtocolError(board.fail(told)) from None
    all_gpu = all(store.get(f"here/{r}") == b"gpu" for r in range(world))
    board.awaits(EVERYBODY)
    board.open()
    try:
        within = timedelta(seconds=board.timeout)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=within)
        group = dist.new_group(backend="nccl", timeout=_FOREVER) if all_gpu else None
    except RuntimeError as e:
        reason = str(e).splitlines()[0]
        gone = board.asked(board.timeout + LINGER)  # who is gone is silent, and found out by that
        raise ProtocolError(
            board.fail(gone or f"{board.name}: can't connect with all others ({reason})")
        ) from None
    board.done()
    return GroupPost(board, rank, group)
