"""Point-to-point transport over torch.distributed, from which there is a way out.

Tensors go over gloo, those on a GPU over nccl where every rank has one of its own. A gloo receive
can't be interrupted, so it happens on a thread; this one meanwhile looks at the board.
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
from sltoolkit.serve.board import LINGER, Board

_FOREVER = timedelta(days=365)  # a receive that gloo itself gives up breaks all connections


@final
@dataclass(eq=False)
class _Task:
    """Something that blocks."""

    action: Callable[[], Any]
    over: threading.Event = field(default_factory=threading.Event)
    error: RuntimeError | None = None


@final
class GroupPost:
    """A rank's connection to all others.

    Args:
        board: where failures are told.
        rank: this rank.
        gpu: a group for tensors on a GPU; None moves them through this machine's memory.
    """

    def __init__(self, board: Board, rank: int, gpu: dist.ProcessGroup | None) -> None:
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
        ready = 0.0

        def action() -> None:
            nonlocal ready
            start = time.perf_counter()
            works = [dist.isend(t, to, group=self._group(t)) for t in map(self._movable, tensors)]
            for i, work in enumerate(filter(None, works)):
                work.wait()
                ready = ready if i else time.perf_counter() - start

        self._do(action, to)
        return ready

    def receive(self, source: int, into: Tensor) -> None:
        """Receive into a contiguous tensor."""
        landed = into if self._direct(into) else torch.empty_like(into, device="cpu")
        self._do(lambda: dist.recv(landed, source, group=self._group(landed)), source)
        if landed is not into:
            into.copy_(landed)

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
        length = torch.empty(1, dtype=torch.int64)
        self.receive(source, length)
        t = torch.empty(int(length), dtype=torch.int64)
        if len(t):
            self.receive(source, t)
        return t

    def _direct(self, t: Tensor) -> bool:
        return t.device.type == "cpu" or self._gpu is not None

    def _movable(self, t: Tensor) -> Tensor:
        return t if self._direct(t) else t.cpu()

    def _group(self, t: Tensor) -> dist.ProcessGroup | None:
        return None if t.device.type == "cpu" else self._gpu

    def _do(self, action: Callable[[], Any], other: int) -> None:
        task = _Task(action)
        self.board.awaits(other)
        self._tasks.put(task)
        while not task.over.wait(0.1):
            if self.board.failure is not None:
                raise ProtocolError(self.board.failure)
            if self.board.stop_asked:  # perhaps because another process died: hear that first
                raise self.fail(self.board.asked(LINGER) or "asked to stop by a signal")
        if task.error is not None:
            # who left because of somebody else said so before it left
            told = self.board.asked(2 * LINGER / 10)
            raise self.fail(told or f"{self.board.names[other]}: the connection to it is lost")
        self.board.done()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task.action()
            except RuntimeError as e:
                task.error = e
            task.over.set()


def connect(rank: int, world: int, store: Store, board: Board, *, gpu: bool) -> GroupPost:
    """Connect this rank with all others.

    Args:
        rank: this one.
        world: how many.
        store: where they find each other.
        board: where failures are told.
        gpu: whether tensors on a GPU go over nccl; the same on all ranks.

    Raises:
        ProtocolError: if one of them doesn't come.
    """
    store.set(f"here/{rank}", "1")
    try:
        store.wait([f"here/{r}" for r in range(world)], timedelta(seconds=board.timeout))
    except RuntimeError:
        missing = [r for r in range(world) if not store.check([f"here/{r}"])]
        raise ProtocolError(
            f"{', '.join(board.names[r] for r in missing)}: not there after {board.timeout:g} s; "
            f"start all {world} processes, with the same MASTER_ADDR and MASTER_PORT"
        ) from None
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=_FOREVER)
    group = dist.new_group(backend="nccl", timeout=_FOREVER) if gpu else None
    board.open()
    return GroupPost(board, rank, group)
