"""Progress of a training or an attack: one line, rewritten, in a notebook as in a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast, final

from rich.console import Console


@final
class ProgressLine:
    """Says how far a training is after each epoch: `train(..., progress=sl.ProgressLine())`.

    Of an attack, `attack(..., progress=sl.ProgressLine("attack", unit="per cent"))`.

    In a notebook it rewrites one output (rich's own live display needs ipywidgets there and warns
    without them), in a terminal one line of the standard error; a log gets the last line alone.

    Args:
        what: what is going on, at the beginning of the line.
        unit: what is counted.
    """

    def __init__(self, what: str = "training", unit: str = "epoch") -> None:
        self._what, self._unit = what, unit
        self._console = Console(stderr=True)
        self._output: Any = None  # IPython's handle of the output to rewrite
        self._first: tuple[float, int] | None = None  # when this training first called, and how far
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        now = time.monotonic()
        if self._first is None or done <= self._done:  # another training than before
            self._first, self._output = (now, done), None
        since, base = self._first
        self._done = done
        line = f"{self._what}: {self._unit} {done} of {total}"
        if base < done < total:
            line += f", {(now - since) / (done - base) * (total - done):.0f} s left"
        self._show(line, last=done == total)

    def _show(self, line: str, *, last: bool) -> None:
        if self._console.is_jupyter:
            self._rewrite({"text/plain": line})
        elif self._console.is_terminal or last:
            width = self._console.width - 1  # the old line may have been longer
            self._console.out(
                f"{line[:width]:<{width}}", end="\n" if last else "\r", highlight=False
            )

    def _rewrite(self, shown: dict[str, str]) -> None:
        from IPython.display import display  # in a notebook it is there

        if self._output is None:
            self._output = cast(Any, display)(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)


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
    """Let `watcher` watch each dress rehearsal that happens here, from 0 to 100 per cent."""
    token = _rehearsals.set(watcher)
    try:
        yield
    finally:
        _rehearsals.reset(token)


@contextmanager
def rehearsal() -> Iterator[None]:
    """What is computed here is one dress rehearsal."""
    watcher = _rehearsals.get()
    with nullcontext() if watcher is None else watch(watcher):
        yield
