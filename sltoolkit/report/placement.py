"""Places labels of points so that they cover neither each other nor a point."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.text import Annotation

from sltoolkit.report.canvas import SMALL

Box = np.ndarray[Any, np.dtype[np.float64]]
"""x0, y0, x1, y1 in pixels: (4,), or (n, 4) for n boxes."""

Labeled = tuple[float, float, str]
"""x and y in data units, and the text."""

_RADII = (6, 12, 20, 30, 42, 56, 72, 90, 110)  # points, from near to far
_ANGLES = (35, -35, 145, -145, 65, -65, 115, -115, 90, -90, 0, 180)  # degrees, in this order
_DOT = 4  # points around a marker that stay free
_LEADER = 15  # points: from this distance on, a line leads to the label


def place(axis: Axes, labeled: Sequence[Labeled], renderer: RendererAgg, dpi: float) -> None:
    """Write each text at the first free place near its point, or where it covers least.

    The axes must have their final position and limits.
    """
    scale = dpi / 72
    inside = np.array(axis.get_window_extent(renderer).extents)
    anchors = [axis.transData.transform((x, y)) for x, y, _ in labeled]
    taken = [_box(x, y, 2 * _DOT * scale, 2 * _DOT * scale) for x, y in anchors]
    for (x, y, text), (px, py) in zip(labeled, anchors, strict=True):
        note = axis.annotate(
            text, (x, y), (0, 0), textcoords="offset points", ha="center", va="center",
            fontsize=SMALL,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
            arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.6}, zorder=5,
        )  # fmt: skip
        size = Annotation.get_window_extent(note, renderer)
        width, height = size.width + 4 * scale, size.height + 2 * scale
        best = min(
            (
                (_covered(box, taken, inside), radius, dx, dy, box)
                for radius in _RADII
                for dx, dy in (_offset(radius * scale, angle, width, height) for angle in _ANGLES)
                for box in (_box(px + dx, py + dy, width, height),)
            ),
            key=lambda candidate: candidate[:2],
        )
        _, radius, dx, dy, box = best
        note.set_position((dx / scale, dy / scale))
        if radius < _LEADER and note.arrow_patch is not None:
            note.arrow_patch.set_visible(False)
        taken.append(box)


def _offset(radius: float, angle: float, width: float, height: float) -> tuple[float, float]:
    """The offset of a label's center from its point, in pixels, clear of the point's error bars."""
    dx, dy = (radius * f(math.radians(angle)) for f in (math.cos, math.sin))
    return (
        dx + math.copysign(width / 2, dx) * (angle % 180 != 90),
        dy + math.copysign(height / 2, dy) * (angle % 180 != 0),
    )


def _box(x: float, y: float, width: float, height: float) -> Box:
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def _covered(box: Box, taken: Sequence[Box], inside: Box) -> float:
    """How many taken pixels, and pixels outside the axes, a label would cover."""
    outside = float(np.prod(box[2:] - box[:2])) - _overlap(box, inside[None])
    return outside + _overlap(box, np.stack(taken))


def _overlap(box: Box, others: Box) -> float:
    """Pixels that a box shares with (n, 4) others, summed."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return float(np.prod((high - low).clip(0), axis=1).sum())
