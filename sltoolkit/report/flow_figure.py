"""A protocol's message flow as a figure."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from sltoolkit.report.canvas import COLORS, Figure
from sltoolkit.report.flow import LEGEND, Scene, scenes, seat_order, size_text
from sltoolkit.report.message_flow import Exchange
from sltoolkit.wire.message import Kind, Seat

_INCHES = (1.75, 0.42)  # between two seats, and between two messages
_COLORS: Mapping[Kind, str] = {
    "smashed": COLORS[0],
    "logits": COLORS[0],
    "smashed_grad": COLORS[1],
    "weight_grad": COLORS[1],
    "labels": COLORS[2],
    "weights": COLORS[3],
    "buffers": COLORS[3],
    "optimizer": COLORS[3],
}


def flow_figure(exchanges: Sequence[Exchange], *, title: str) -> Figure:
    """A sequence diagram: a column per seat, an arrow per message.

    Args:
        exchanges: the protocol's exchanges, as `flow` measures them.
        title: the figure's title.
    """
    seats = seat_order(exchanges)
    shown = scenes(exchanges)
    rows = sum(len(steps) + 1 for _, steps in shown)
    size = (max(4.5, _INCHES[0] * len(seats) + 0.4), _INCHES[1] * (rows + 3.2))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axis = figure.subplots()
    axis.set_axis_off()
    axis.set_xlim(-0.6, len(seats) - 0.4)
    axis.set_ylim(rows + 0.9, -1.3)
    for x, seat in enumerate(seats):
        axis.plot([x, x], [-0.7, rows + 0.1], color="0.75", lw=1, zorder=1)
        axis.text(
            x, -0.7, str(seat), ha="center", va="center", fontsize=10, weight="bold",
            bbox={"boxstyle": "round,pad=0.4", "fc": "0.95", "ec": "0.6"}, zorder=3,
        )  # fmt: skip
    top = 0
    for scene in shown:
        _draw_scene(axis, scene, top, {seat: x for x, seat in enumerate(seats)})
        top += len(scene[1]) + 1
    middle = (len(seats) - 1) / 2
    axis.text(middle, rows + 0.55, LEGEND, ha="center", va="center", fontsize=8, color="0.4")
    axis.set_title(title, fontsize=11)
    return figure


def _draw_scene(axis: Axes, scene: Scene, top: int, place: Mapping[Seat, int]) -> None:
    """Draw a pale band with its heading on top, and an arrow per message."""
    title, steps = scene
    left, right = -0.55, len(place) - 0.45
    axis.fill_between([left, right], top - 0.15, top + len(steps) + 0.75, color="0.96", zorder=0)
    axis.text(
        left + 0.04, top + 0.15, title, va="center", fontsize=8.5, style="italic",
        color="0.3", bbox={"fc": "0.96", "ec": "none", "pad": 1}, zorder=2,
    )  # fmt: skip
    for row, step in enumerate(steps, top + 1):
        start, end, color = place[step.src], place[step.dst], _COLORS[step.kind]
        y = row + 0.35
        axis.annotate(
            "", (end, y), (start, y), zorder=4,
            arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.4, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        axis.text(
            (start + end) / 2, y - 0.05, f"{step.kind}, {size_text(step)}", ha="center",
            va="bottom", fontsize=8.5, color=color,
            bbox={"fc": "0.96", "ec": "none", "pad": 0.5}, zorder=3,
        )  # fmt: skip
