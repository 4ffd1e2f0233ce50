"""The trade-off figure: leakage of the worst attack against utility, with the Pareto front."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from sltoolkit.errors import SpecError
from sltoolkit.metrics import hypervolume, pareto_front
from sltoolkit.report.canvas import COLORS, COLUMN, NORMAL, PAGE, SMALL, Figure, tidy
from sltoolkit.report.formats import FAMILY_NAMES, METRIC_NAMES, records
from sltoolkit.report.placement import Labeled, place
from sltoolkit.report.plugin_labels import UNDEFENDED
from sltoolkit.report.tables import FAMILIES
from sltoolkit.report.written_names import written
from sltoolkit.rows.columns import SETTING

_MANY = 10  # points labeled in place; more get numbers and a key
_HEIGHT = 3.1  # inches per row of panels
_WRAP = 44  # characters below a panel
_KEY, _KEY_LINE = 1.7, 0.15  # inches: width of the key of numbered points, height of a line
_WORST_GAIN = 1.0  # the reference of the hypervolume; the range of all primary metrics but SSIM

Line = Mapping[str, Any]


def tradeoff_figure(summary: pd.DataFrame, family: str | None = None) -> Figure:
    """Utility against the worst attack's gain: a row per data set, a panel per family of attacks.

    A mark is the upper end of the gain's interval, which defenses are ranked by, and the bar goes
    down to its lower end. The line is the Pareto front of the upper ends; on it, a gain below 0
    counts as 0, because an attacker can fall back on the prior. A hollow mark with an arrow is a
    lower end without an upper one, because an attack is missing; a cross is a victim that does no
    better than the majority share. Neither is on the front.

    Args:
        summary: from `tables.summary`.
        family: the family of attacks to draw; None draws every family with results.

    Raises:
        SpecError: if no attack has a result to draw.
    """
    asked = FAMILIES if family is None else (family,)
    families = [f for f in asked if summary[f"{f}_gain_low"].notna().any()]
    if not families:
        raise SpecError("no attack was run to its end, so there is no trade-off to draw")
    datasets = list(dict.fromkeys(summary["dataset"]))
    colors = _colors(list(records(summary)))
    most = int(summary["dataset"].value_counts().max())
    many = most > _MANY
    width = PAGE if many or len(families) > 1 else COLUMN
    widths = [(width - _KEY * many) / len(families)] * len(families) + [_KEY] * many
    height = max(_HEIGHT, _KEY_LINE * most) if many else _HEIGHT
    size = (width, height * len(datasets) + 0.3)
    figure = Figure(figsize=size, dpi=200, layout=ConstrainedLayoutEngine(w_pad=0.08))
    renderer = cast(Any, FigureCanvasAgg(figure)).get_renderer()
    grid = figure.subplots(len(datasets), len(widths), squeeze=False, width_ratios=widths)
    labeled: list[tuple[Axes, list[Labeled]]] = []
    for axes, dataset in zip(grid, datasets, strict=True):
        lines = list(records(summary[summary["dataset"] == dataset]))
        for i, line in enumerate(lines, start=1):
            line["label"] = written(line["label"])
            line["mark"] = str(i) if many else line["label"]
        labeled += [
            (axis, _panel(axis, lines, f, colors)) for axis, f in zip(axes, families, strict=False)
        ]
        if many:
            _key(axes[-1], lines, colors)
    _legend(figure, summary, families, colors)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels are placed where the panels lie now
    for axis, texts in labeled:
        place(axis, texts, renderer, figure.dpi)
    return figure


def _panel(
    axis: Axes, lines: Sequence[Line], family: str, colors: Mapping[str, str]
) -> list[Labeled]:  # fmt: skip
    """Draw one panel; returns the labels of its points."""
    drawn = [x for x in lines if math.isfinite(x["accuracy"]) and math.isfinite(_mark(x, family))]
    for line in drawn:
        _point(axis, line, family, colors[_series(line)])
    axis.axhline(0, color="0.5", lw=0.8, ls=":", zorder=1)
    front, area = _front(drawn, family)
    axis.plot(*zip(*front, strict=True), color="0.35", lw=1.2, ls="--", drawstyle="steps-pre",
              zorder=1) if front else None  # fmt: skip
    reference = _chance(drawn)
    axis.set_title(
        f"{written(lines[0]['dataset'])}: {FAMILY_NAMES[family]} leakage\n"
        f"hypervolume {area:.3f} for a gain below {_WORST_GAIN:g}\n"
        f"and accuracy above the majority share, {reference:.2g}",
        fontsize=NORMAL,
    )
    metric = next((METRIC_NAMES[m] for x in drawn if (m := x[f"{family}_metric"])), "")
    gained = f"worst attack's gain over the prior alone,\nat most ({metric}; lower is better)"
    axis.set_ylabel(gained, fontsize=NORMAL)
    axis.set_xlabel("accuracy (higher is better)" + _left_out(lines, drawn), fontsize=NORMAL)
    axis.tick_params(labelsize=SMALL)
    axis.margins(0.12)
    tidy(axis)
    return [(x["accuracy"], _mark(x, family), x["mark"]) for x in drawn]


def _mark(line: Line, family: str) -> float:
    """Where a defense is drawn: at the upper end, or at the lower one if there is no other."""
    end = "low" if line[f"{family}_incomplete"] else "high"
    return float(line[f"{family}_gain_{end}"])


def _point(axis: Axes, line: Line, family: str, color: str) -> None:
    x, y = line["accuracy"], _mark(line, family)
    axis.errorbar(
        x, y,
        xerr=[[_bar(x - line["accuracy_low"])], [_bar(line["accuracy_high"] - x)]],
        yerr=[[_bar(y - line[f"{family}_gain_low"])], [0.0]],
        ecolor=color, elinewidth=0.9, capsize=2, alpha=0.55, fmt="none", zorder=2,
    )  # fmt: skip
    axis.plot(x, y, zorder=3, **_style(line, family, color))
    if line[f"{family}_incomplete"]:
        axis.annotate(
            "", (x, y), (0, 18), textcoords="offset points",
            arrowprops={"arrowstyle": "<-", "color": color},
        )  # fmt: skip


def _style(line: Line, family: str, color: str) -> dict[str, Any]:
    marker, size = ("*", 9) if line["defense"] in UNDEFENDED else ("o", 4.5)
    if line["useless"]:
        marker, size = "x", 5
    hollow = line[f"{family}_incomplete"]
    return {
        "marker": marker, "markersize": size, "color": color, "linestyle": "none",
        "markerfacecolor": "white" if hollow else color,
    }  # fmt: skip


def _bar(length: float) -> float:
    return 0.0 if math.isnan(length) else max(length, 0.0)


def _front(drawn: Sequence[Line], family: str) -> tuple[list[tuple[float, float]], float]:
    """(accuracy, upper end of the gain) along the front, and its hypervolume."""
    points = [
        (x["accuracy"], -max(_mark(x, family), 0.0))
        for x in drawn
        if not (x["useless"] or x[f"{family}_incomplete"])
    ]
    kept = [p for p, on_front in zip(points, pareto_front(points), strict=True) if on_front]
    area = hypervolume(points, (_chance(drawn), -_WORST_GAIN))
    return sorted((utility, -privacy) for utility, privacy in kept), area


def _chance(drawn: Sequence[Line]) -> float:
    known = [x["chance"] for x in drawn if not math.isnan(x["chance"])]
    return max(known, default=0.0)


def _series(line: Line) -> str:
    """The setting that a point was measured in, which gives it its color."""
    named = [c for c in SETTING if c not in ("dataset", "protocol_params") and line[c] != ""]
    return " ".join(str(line[c]) for c in named)


def _left_out(lines: Sequence[Line], drawn: Sequence[Line]) -> str:
    absent = [str(x["label"]) for x in lines if x not in drawn]
    said = f"not drawn, without a complete result: {', '.join(absent)}"
    return "\n" + textwrap.fill(said, _WRAP) if absent else ""


def _colors(lines: Sequence[Line]) -> dict[str, str]:
    series = list(dict.fromkeys(map(_series, lines)))
    return {name: COLORS[i % len(COLORS)] for i, name in enumerate(series)}


def _legend(
    figure: Figure, summary: pd.DataFrame, families: Sequence[str], colors: Mapping[str, str]
) -> None:  # fmt: skip
    """Explain marks and colors below all panels."""
    handles: list[Artist] = [Line2D([], [], color="0.35", lw=1.2, ls="--", label="Pareto front")]
    mark: dict[str, Any] = {"color": "0.3", "ls": "none", "markersize": 5}
    repeated = " or ".join(sorted(set(summary["interval_over"])))
    handles.append(Line2D([], [], color="0.3", lw=0.9, label=f"95 % interval over {repeated}"))
    if summary[[f"{family}_incomplete" for family in families]].any(axis=None):
        label = "lower end: an attack is missing"
        handles.append(Line2D([], [], **mark, marker="o", markerfacecolor="white", label=label))
    if summary["useless"].any():
        label = "no better than the majority share"
        handles.append(Line2D([], [], **mark, marker="x", label=label))
    if len(colors) > 1:
        handles += [
            Line2D([], [], **{**mark, "color": color}, marker="s", label=written(series))
            for series, color in colors.items()
        ]
    columns = 1 if figure.get_figwidth() == COLUMN else 3
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=SMALL, ncols=columns
    )


def _key(axis: Axes, lines: Sequence[Line], colors: Mapping[str, str]) -> None:
    """Write the labels that the numbers at the points stand for."""
    axis.set_axis_off()
    rows = [f"{x['mark']:>3}  {x['label']}" for x in lines]
    step = 1 / max(len(rows), _MANY + 8)  # lines of a few entries stay together
    for i, (line, row) in enumerate(zip(lines, rows, strict=True)):
        axis.text(0, 1 - i * step, row, color=colors[_series(line)], fontsize=SMALL, va="top")
