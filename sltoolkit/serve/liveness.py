"""Liveness: every process shows in a shared key-value store that it is alive, and why it stops.

A gloo receive can't be interrupted, and a process that waits for another one is not at fault. So
every process shows how many messages it has exchanged and which process it waits for. A process has
stalled if for longer than the timeout it shows nothing, or neither exchanges a message nor waits
for one. The first reason to stop in the store is the reason that every process gives. The store
holds only numbers and sentences.
"""

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, final

NOBODY, EVERYBODY = -1, -2
LINGER = 2.0
"""Seconds to wait until others have read, or written, a reason."""
_LONGEST = 2000  # characters of a reason

_FAILURE = "failure"


class Store(Protocol):
    """The part of torch's stores that is used."""

    def set(self, key: str, value: str) -> None: ...  # noqa: D102
    def get(self, key: str) -> bytes: ...  # noqa: D102
    def check(self, keys: list[str]) -> bool: ...  # noqa: D102
    def compare_set(self, key: str, expected: str, desired: str) -> bytes: ...  # noqa: D102
    def set_timeout(self, timeout: timedelta) -> None: ...  # noqa: D102


@final
class _Beat:
    """What a process showed last, and since when it has shown the same."""

    def __init__(self) -> None:
        now = time.monotonic()
        self.tick, self.ticked = "", now
        self.count, self.counted = "", now
        self.awaits = NOBODY

    def see(self, text: str) -> None:
        """Read what the process shows now."""
        now = time.monotonic()
        tick, count, awaits = text.split()
        if tick != self.tick:
            self.tick, self.ticked = tick, now
        if (count, int(awaits)) != (self.count, self.awaits):
            self.count, self.awaits, self.counted = count, int(awaits), now


@final
class Liveness:
    """One process's view of the store; a thread keeps it up to date.

    Args:
        store: a connection that nothing else uses.
        rank: the rank of this process.
        names: the names of all processes, for error messages.
        timeout: seconds after which silence is a fault.

    Attributes:
        names: the names of all processes.
        timeout: seconds after which silence is a fault.
        failure: the first reason to stop, once there is one.
        stop_asked: set when this process was asked to end.
    """

    def __init__(self, store: Store, rank: int, names: Sequence[str], timeout: float) -> None:
        self.names = list(names)
        self.failure: str | None = None
        self.stop_asked = False
        self._store, self._rank, self.timeout = store, rank, timeout
        self._count, self._awaits, self._tick = 0, NOBODY, 0
        self._interval = min(0.5, timeout / 4)
        self._seen = {r: _Beat() for r in range(len(self.names)) if r != rank}
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def name(self) -> str:
        """The name of this process."""
        return self.names[self._rank]

    def open(self) -> None:
        """Begin to watch; silence before now doesn't count."""
        self._seen = {r: _Beat() for r in self._seen}
        self._thread.start()

    def awaits(self, rank: int) -> None:
        """Show that this process waits for another one."""
        self._awaits = rank

    def done(self) -> None:
        """Show that a message got through."""
        self._awaits = NOBODY
        self._count += 1

    def fail(self, sentence: str) -> str:
        """Store a reason to stop, unless one is stored; returns the reason that is stored."""
        with self._lock:
            if self.failure is None:
                sentence = " ".join(sentence.split())[:_LONGEST]
                self.failure = self._put(sentence)
        return self.failure

    def asked(self, seconds: float) -> str | None:
        """The stored reason to stop; waits for it at most this long."""
        end = time.monotonic() + seconds
        while self.failure is None and time.monotonic() < end:
            time.sleep(0.02)
            self._look_for_failure()
        return self.failure

    def close(self, *, failed: bool) -> None:
        """Stop watching; after a failure, only once the others have had time to read it."""
        if failed and self._rank == 0:  # this process may keep the store
            end = time.monotonic() + LINGER
            while time.monotonic() < end and not self._all_know():
                time.sleep(0.02)
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LINGER)

    def _put(self, sentence: str) -> str:
        try:
            with_rank = self._store.compare_set(_FAILURE, "", sentence).decode(errors="replace")
            self._store.set(f"knows/{self._rank}", "1")
        except RuntimeError:  # the process that kept the store is gone
            return sentence
        return with_rank

    def _all_know(self) -> bool:
        try:
            return self._store.check([f"knows/{r}" for r in self._seen])
        except RuntimeError:
            return True

    def _watch(self) -> None:
        self._store.set_timeout(timedelta(seconds=self.timeout))
        while not self._closed.wait(self._interval) and self.failure is None:
            try:
                self._show()
                self._look_for_failure()
                self._look_for_stalls()
            except RuntimeError:
                if not self._closed.is_set():
                    self.failure = f"{self.names[0]}: the store that it keeps is gone"

    def _show(self) -> None:
        self._tick += 1
        self._store.set(f"beat/{self._rank}", f"{self._tick} {self._count} {self._awaits}")

    def _look_for_failure(self) -> None:
        with self._lock:
            if self.failure is None and self._store.check([_FAILURE]):
                self.failure = self._store.get(_FAILURE).decode(errors="replace")
                self._store.set(f"knows/{self._rank}", "1")

    def _look_for_stalls(self) -> None:
        now = time.monotonic()
        for rank, beat in self._seen.items():
            if self._store.check([f"beat/{rank}"]):
                beat.see(self._store.get(f"beat/{rank}").decode())
            silent = now - beat.ticked > self.timeout
            idle = beat.awaits == NOBODY and now - beat.counted > self.timeout
            if silent or idle:
                self.fail(
                    f"{self.names[rank]}: stalled, for {self.timeout:g} s it neither sent nor "
                    "asked for anything"
                )
