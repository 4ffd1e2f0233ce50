"""Figures of quality over a varied setting: a panel per defense or knowledge, a line per method."""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sltoolkit.metrics import METRICS
from sltoolkit.report.canvas import COLUMN, NORMAL, PAGE, SMALL, Figure, tidy
from sltoolkit.report.formats import METRIC_NAMES
from sltoolkit.report.series import AXES, Chart, Line, Place
from sltoolkit.report.styles import Style, styles
from sltoolkit.report.written_names import written

UNORDERED = ("data.aux_from",)
"""Axes whose places have no order, so no line joins them."""

_TICKS = 6
_COLUMNS = {1: 1, 2: 2, 4: 2}  # by number of panels; other numbers get three columns, or four
_HANDLE = 3.2  # letters: long enough to show dashes and a mark
_LETTERS = 100  # across a page

_PRIOR = Style(color="0.45", linestyle="-.", marker="")


def curves_figure(chart: Chart) -> Figure:
    """Draw a chart: as wide as a column with one column of panels, else as wide as a page.

    Bands are t intervals over victims, or bootstraps over the targets of one network, which the
    title then says; on an axis without order they are bars. The dash-dotted line is the best
    prior-only baseline. Panels by defense share a legend. Panels by knowledge hold different
    methods, so each has its own legend.
    """
    panels = list(dict.fromkeys(line.panel for line in chart.lines))
    columns = _COLUMNS.get(len(panels), 3 if len(panels) < 7 else 4)
    rows = math.ceil(len(panels) / columns)
    width = COLUMN if columns == 1 else PAGE
    looks = {**styles(line.method for line in chart.lines if line.method), "": _PRIOR}
    each = 2.3 if chart.by_knowledge else 1.9
    figure = Figure(figsize=(width, each * rows + 0.75), dpi=200, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, panel in zip(grid.flat, panels, strict=False):
        lines = [line for line in chart.lines if line.panel == panel]
        _panel(axis, chart, lines, looks)
        if chart.by_knowledge:
            own = {line.method: looks[line.method] for line in lines if line.method}
            _own_legend(axis, _folded(panel, _LETTERS // columns), _handles(own, chart))
        elif len(panels) > 1:
            axis.set_title(_folded(written(panel), _LETTERS // columns), fontsize=NORMAL)
    for axis in grid.flat[len(panels) :]:
        axis.set_visible(False)
    for axes in grid:
        axes[0].set_ylabel(_leaking(chart.metric), fontsize=NORMAL)
    for axis in grid.flat[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel(AXES[chart.axis], fontsize=NORMAL)
    title = written(chart.setting) + ", intervals over targets" * chart.over_targets
    setting = _folded(title, _LETTERS if columns > 1 else _LETTERS // 2)
    figure.suptitle(setting, fontsize=NORMAL)
    below = {"": _PRIOR} if chart.by_knowledge else looks
    figure.legend(
        handles=_handles(below, chart), loc="outside lower center", frameon=False, fontsize=SMALL,
        handlelength=_HANDLE, ncols=min(len(below), 2 if columns == 1 else 5),
    )  # fmt: skip
    return figure


def _folded(text: str, letters: int) -> str:
    """The text in lines of at most `letters` where possible, broken only after commas."""
    items = text.replace(" ", "\xa0").replace(",\xa0", ", ")  # textwrap keeps these together
    return fill(items, letters, break_long_words=False).replace("\xa0", " ")


def _own_legend(axis: Axes, title: str, handles: Sequence[Line2D]) -> None:
    """Put the title and the panel's legend above the axes, where they cover nothing."""
    axis.legend(
        handles=handles, title=title, loc="lower left", bbox_to_anchor=(0, 1), frameon=False,
        fontsize=SMALL, title_fontproperties={"size": SMALL, "weight": "bold"}, alignment="left",
        handlelength=_HANDLE, borderaxespad=0.3, borderpad=0, labelspacing=0.25,
    )  # fmt: skip


def _panel(axis: Axes, chart: Chart, lines: Sequence[Line], looks: dict[str, Style]) -> None:
    places = chart.places
    numbers = all(isinstance(place, float) for place in places)
    at: dict[Place, float] = {
        place: float(place) if numbers else float(i) for i, place in enumerate(places)
    }
    for number, line in enumerate(lines):
        if chart.axis in UNORDERED:
            _points(axis, line, at, looks[line.method], (number + 1) / (len(lines) + 1) - 0.5)
        else:
            _line(axis, line, at, looks[line.method])
    if numbers and min(at.values()) > 0 and max(at.values()) >= 8 * min(at.values()):
        axis.set_xscale("log")
        shown = [float(place) for place in places][:: math.ceil(len(places) / _TICKS)]
        axis.set_xticks(shown, [f"{place:g}" for place in shown])
        axis.set_xticks([], minor=True)
    if not numbers:
        axis.set_xticks(list(at.values()), [written(str(place)) for place in places])
        long = sum(len(str(place)) for place in places) > 40
        axis.tick_params(axis="x", rotation=30 if long else 0)
    axis.tick_params(labelsize=SMALL)
    tidy(axis)


def _leaking(metric: str) -> str:
    direction = "higher" if METRICS[metric].higher_is_more_leak else "lower"
    return f"{METRIC_NAMES.get(metric, metric)}\n({direction} leaks more)"


def _line(axis: Axes, line: Line, at: dict[Place, float], look: Style) -> None:
    points = sorted((at[place], interval) for place, interval in line.points.items())
    x = [place for place, _ in points]
    axis.plot(
        x, [i.value for _, i in points], color=look.color, linestyle=look.linestyle, lw=1.1,
        marker=look.marker, markersize=3.2, markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip
    if line.method:
        low, high = [i.low for _, i in points], [i.high for _, i in points]
        axis.fill_between(x, low, high, color=look.color, alpha=0.16, lw=0)


def _points(
    axis: Axes, line: Line, at: dict[Place, float], look: Style, aside: float
) -> None:  # fmt: skip
    """Draw means with their intervals side by side, or the prior's level at every place."""
    for place, found in line.points.items():
        x = at[place]
        if not line.method:
            axis.hlines(
                found.value, x - 0.45, x + 0.45, color=look.color, ls=look.linestyle, lw=1.1
            )
            continue
        axis.errorbar(
            x + 0.8 * aside, found.value, [[found.value - found.low], [found.high - found.value]],
            color=look.color, marker=look.marker, markersize=3.5, lw=1.1,
        )  # fmt: skip


def _handles(looks: Mapping[str, Style], chart: Chart) -> list[Line2D]:
    return [
        Line2D(
            [], [], color=look.color, marker=look.marker, markersize=3.2, lw=1.1,
            linestyle="" if method and chart.axis in UNORDERED else look.linestyle,
            label=written(method) if method else "prior alone",
        )
        for method, look in looks.items()
    ]  # fmt: skip
