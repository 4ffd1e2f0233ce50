"""Progress: a computation reports how far it is, and watchers are told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import final

Watcher = Callable[[int, int], None]


@final
@dataclass(eq=False)
class _Watch:
    """A part of the whole: from `low` to `high`."""

    tell: Callable[[float], None]
    low: float = 0.0
    high: float = 1.0


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)
_rehearsals: ContextVar[Watcher | None] = ContextVar("rehearsals", default=None)


@contextmanager
def watch(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` with (per cent done, 100) while something is computed here.

    It is called once per per cent at most, and at the end (unless that is an error).
    """
    said = 0

    def tell(share: float) -> None:
        nonlocal said
        percent = int(100 * share + 1e-9)
        if percent > said:
            said = percent
            watcher(percent, 100)

    token = _watch.set(_Watch(tell))
    try:
        yield
        advance(1, 1)
    finally:
        _watch.reset(token)


@contextmanager
def part(share: float) -> Iterator[None]:
    """What is computed here is this share of what remains of the present part."""
    outer = _watch.get()
    if outer is None:
        yield
        return
    inner = _Watch(outer.tell, outer.low, outer.low + share * (outer.high - outer.low))
    token = _watch.set(inner)
    try:
        yield
    finally:
        _watch.reset(token)
    outer.low = inner.high
    advance(0, 1)


def advance(done: int, total: int) -> None:
    """`done` of `total` steps of what remains of the present part are made."""
    now = _watch.get()
    if now is not None:
        now.tell(now.low + (now.high - now.low) * done / max(1, total))


@contextmanager
def watch_rehearsals(watcher: Watcher | None) -> Iterator[None]:
    """Let `watcher` watch each training rehearsal that happens here, from 0 to 100 per cent."""
    token = _rehearsals.set(watcher)
    try:
        yield
    finally:
        _rehearsals.reset(token)


@contextmanager
def rehearsal() -> Iterator[None]:
    """What is computed here is one training rehearsal."""
    watcher = _rehearsals.get()
    with nullcontext() if watcher is None else watch(watcher):
        yield
