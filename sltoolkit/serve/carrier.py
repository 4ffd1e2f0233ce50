"""Carrying messages of the wire between processes."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, final

import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.serve.header import LENGTH, Header, check, finite, prepared, unpacked
from sltoolkit.wire.message import Kind, Seat


class Transport(Protocol):
    """Point-to-point transport between processes; every failure is a `ProtocolError`."""

    rank: int

    def send(self, to: int, *tensors: Tensor) -> float:
        """Send contiguous tensors; returns the seconds until the receiver had the first one."""

    def receive(
        self, source: int, first: Tensor, then: Callable[[], Tensor] | None = None
    ) -> float:
        """Receive a tensor, then the one that `then` makes; returns the seconds until the first."""

    def fail(self, sentence: str) -> ProtocolError:
        """Tell everybody why this process stops; returns the error to raise."""


@final
class Distributed:
    """A carrier between processes, each of which is the home of some seats.

    A message between two seats of this process is copied. A message from here to another process is
    sent, and only its shape (a tensor on the `meta` device) goes on here. A message from another
    process is received and checked against the shape that the sender's placeholder has computed.

    Args:
        transport: the connection to the other processes.
        homes: the rank of the process in which each seat lives.
        classes: number of classes.
        device: where this process computes.

    Attributes:
        waiting: seconds until the other end was ready.
        moving: seconds in which messages were sent and received, without waiting.
        sent: payload bytes sent from here to other processes.
    """

    def __init__(
        self, transport: Transport, homes: Mapping[Seat, int], *, classes: int, device: torch.device
    ) -> None:
        self._transport, self._homes = transport, homes
        self._classes, self._device = classes, device
        self._sequence: Counter[tuple[int, int]] = Counter()
        self.waiting = 0.0
        self.moving = 0.0
        self.sent = 0

    def carry(self, t: Tensor, *, src: Seat, dst: Seat, kind: Kind) -> Tensor:
        """The receiver's own copy; on the `meta` device where the receiver is not here."""
        origin, goal, here = self._homes[src], self._homes[dst], self._transport.rank
        if origin == goal:  # both here, or both in one process elsewhere
            return t.clone()
        if here not in (origin, goal):
            return torch.empty_like(t, device="meta")
        sequence = self._sequence[origin, goal]
        self._sequence[origin, goal] += 1
        start, waited = time.perf_counter(), self.waiting
        if here == origin:
            arrived = self._send(t, src, goal, sequence, kind)
        else:
            arrived = self._receive(t, src, origin, sequence, kind)
        self.moving += time.perf_counter() - start - (self.waiting - waited)
        return arrived

    def _send(self, t: Tensor, src: Seat, goal: int, sequence: int, kind: Kind) -> Tensor:
        if t.is_meta:
            raise self._transport.fail(f"{src}: has no {kind} to send: they weren't computed here")
        header, payload = prepared(t, sequence=sequence, kind=kind)
        # both ends must agree on the way it takes, which depends on the device
        payloads = [payload.to(self._device)] if payload.numel() else []
        self.waiting += self._transport.send(goal, header.packed(), *payloads)
        self.sent += payload.nbytes
        return torch.empty_like(t, device="meta")

    def _receive(self, like: Tensor, src: Seat, origin: int, sequence: int, kind: Kind) -> Tensor:
        numbers = torch.empty(LENGTH, dtype=torch.int64)
        announced: list[tuple[Header, Tensor]] = []

        def payload_for() -> Tensor:
            try:
                header = unpacked(numbers)
                check(header, like, sequence=sequence, kind=kind, classes=self._classes)
            except ProtocolError as e:
                raise self._transport.fail(f"{src}: {e}") from None
            announced.append((header, header.empty(self._device)))
            return announced[0][1]

        self.waiting += self._transport.receive(origin, numbers, payload_for)
        header, payload = announced[0]
        if not finite(payload):
            raise self._transport.fail(f"{src}: sent {header} with numbers that aren't finite")
        return header.restored(payload)
