"""The figure of a calibration: the dose, and what attacks read."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sltoolkit.attacks import ATTACKS
from sltoolkit.report.canvas import NORMAL, PAGE, SMALL, Figure, tidy
from sltoolkit.report.formats import METRIC_NAMES
from sltoolkit.report.styles import Style, styles
from sltoolkit.report.written_names import written
from sltoolkit.testing.calibration import Reading
from sltoolkit.testing.known_dose import DOSES

_NAMES = {kind.__name__: name for name, kind in ATTACKS.items()}
_APART = 0.06  # of a dose, from line to line, so that intervals don't hide each other
_COLUMNS = 2
_LONG = 22  # letters: two such labels don't fit beside each other over a panel
_LINEAR = DOSES[1]  # the axes are linear up to here, since they begin at 0


def dose_figure(panels: Mapping[str, Sequence[Reading]]) -> Figure:
    """Draw readings over doses, one line per attack and metric, beside the line where they agree.

    Args:
        panels: title, such as a family of attacks, -> its readings.

    A mark is full where the dose fires, and hollow where the gain's interval reaches 0 or less. A
    cross is the reading of shuffled pairs at dose 1. Bars are 95 % intervals over targets.
    """
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = Figure(figsize=(PAGE, 2.6 * rows), dpi=200, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    for axis, (title, readings) in zip(grid.flat, panels.items(), strict=False):
        _panel(axis, title, readings)
    for axis in grid.flat[len(panels) :]:
        axis.set_visible(False)
    figure.supylabel("measured leak, as a share of the leak at dose 1", fontsize=NORMAL)
    figure.supxlabel("dose: share of messages that are plain", fontsize=NORMAL)
    return figure


def _panel(axis: Axes, title: str, readings: Sequence[Reading]) -> None:
    lines = list(dict.fromkeys((r.attack, r.metric) for r in readings))
    looks = dict(zip(lines, styles(_label(*line) for line in lines).values(), strict=True))
    axis.plot([0, 1], [0, 1], color="0.6", lw=0.8)
    for number, line in enumerate(lines):
        aside = 1 + _APART * (number - (len(lines) - 1) / 2)
        for reading in readings:
            if (reading.attack, reading.metric) == line:
                _mark(axis, reading, looks[line], aside)
        plain = [r for r in readings if (r.attack, r.metric) == line and not r.shuffled]
        axis.plot(
            [r.dose * aside for r in plain], [r.read.value for r in plain], lw=0.9,
            color=looks[line].color, linestyle=looks[line].linestyle,
        )  # fmt: skip
    axis.set_xscale("symlog", linthresh=_LINEAR, linscale=0.5)
    axis.set_yscale("symlog", linthresh=_LINEAR, linscale=0.5)
    axis.set_xticks(DOSES, [f"{dose:g}" for dose in DOSES])
    axis.set_yticks(DOSES, [f"{dose:g}" for dose in DOSES])
    axis.minorticks_off()
    axis.tick_params(labelsize=SMALL)
    tidy(axis)
    labels = {line: _label(*line) for line in lines}
    handles = [
        Line2D(
            [], [], color=look.color, linestyle=look.linestyle, marker=look.marker, markersize=3.5,
            lw=0.9, label=labels[line],
        )
        for line, look in looks.items()
    ]  # fmt: skip
    axis.legend(
        handles=handles, title=title, loc="lower left", bbox_to_anchor=(0, 1), frameon=False,
        fontsize=SMALL, title_fontproperties={"size": SMALL, "weight": "bold"}, alignment="left",
        handlelength=2.6, ncols=1 if max(map(len, labels.values())) > _LONG else 2,
    )  # fmt: skip


def _mark(axis: Axes, reading: Reading, look: Style, aside: float) -> None:
    read = reading.read
    axis.errorbar(
        reading.dose * aside, read.value, [[read.value - read.low], [read.high - read.value]],
        color=look.color, lw=0.9, marker="x" if reading.shuffled else look.marker, markersize=4,
        markerfacecolor=look.color if reading.fires else "white",
    )  # fmt: skip


def _label(attack: str, metric: str) -> str:
    return f"{written(_NAMES.get(attack, attack))} ({METRIC_NAMES.get(metric, metric)})"
