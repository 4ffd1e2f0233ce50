"""Progress of a training or an attack as one line, rewritten in notebooks and terminals alike."""

import time
from typing import Any, cast, final

from rich.console import Console


@final
class ProgressLine:
    """Shows after each epoch how far a training is: `train(..., progress=sl.ProgressLine())`.

    For an attack: `attack(..., progress=sl.ProgressLine("attack", unit="percent"))`.

    In a notebook it rewrites one output; rich's own live display needs ipywidgets there, and warns
    without them. In a terminal it rewrites one line of the standard error. A log gets only the last
    line.

    Args:
        what: what is watched, the first word of the line.
        unit: what is counted.
    """

    def __init__(self, what: str = "training", unit: str = "epoch") -> None:
        self._what, self._unit = what, unit
        self._console = Console(stderr=True)
        self._output: Any = None  # IPython's handle of the output to rewrite
        self._first: tuple[float, int] | None = None  # time and count of this training's first call
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` units are done."""
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
        from IPython.display import display  # notebooks have it installed

        if self._output is None:
            self._output = cast(Any, display)(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)
