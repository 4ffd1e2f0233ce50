"""Protocols side by side: what each is worth, costs and leaks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sltoolkit.errors import SpecError
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.canvas import NORMAL, PAGE, SMALL, Figure, tidy
from sltoolkit.report.formats import records, spread
from sltoolkit.report.written_names import written


@final
@dataclass(frozen=True)
class _Panel:
    """A column of the figure: of the summary, or a number per protocol."""

    name: str
    title: str
    log: bool = False


_MEASURED = (
    _Panel("accuracy", "accuracy"),
    _Panel("epoch_mb", "MB per epoch", log=True),
    _Panel("epoch_seconds", "seconds per epoch", log=True),
    _Panel("reconstruction_gain", "reconstruction\ngain (SSIM)"),
    _Panel("labels_gain", "label gain\n(leak AUC)"),
)
_COLOR = "0.25"  # no method's: what is drawn are quantities


def protocol_table(
    summary: pd.DataFrame, bytes_per_epoch: Mapping[str, float], seconds: Mapping[str, float]
) -> pd.DataFrame:
    """One line per protocol: its summary, and what an epoch of it costs.

    Args:
        summary: of rows with one setting per protocol, from `sl.table`.
        bytes_per_epoch: protocol -> bytes on the wire.
        seconds: protocol -> latency of an epoch on machines and a link of one's choice.

    Raises:
        SpecError: if the summary has several lines of one protocol.
    """
    twice = summary["protocol"][summary["protocol"].duplicated()]
    if len(twice):
        raise SpecError(
            f"a table of protocols needs one line each, got several of {twice.iloc[0]}: give the "
            "rows of one defense, data set and model"
        )
    table = summary.copy()
    table["epoch_mb"] = table["protocol"].map(bytes_per_epoch).astype(float) / 1e6
    table["epoch_seconds"] = table["protocol"].map(seconds).astype(float)
    return table


def formatted_protocols(table: pd.DataFrame) -> pd.DataFrame:
    """A protocol table as strings: numbers with intervals, `-` where nothing was attacked."""
    return pd.DataFrame([_cells(line) for line in records(table)], dtype=object)


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    return {
        "protocol": str(line["protocol"]),
        "accuracy": spread(line, "accuracy"),
        "MB per epoch": f"{line['epoch_mb']:.2f}",
        "seconds per epoch": f"{line['epoch_seconds']:.2f}",
        "reconstruction gain": _gain(line, "reconstruction"),
        "by": str(line["reconstruction_attack"]) or "-",
        "label gain": _gain(line, "labels"),
    }


def _gain(line: Mapping[str, Any], family: str) -> str:
    if math.isnan(line[f"{family}_gain"]):
        return "-"
    return spread(line, f"{family}_gain", signed=True)


def protocol_figure(table: pd.DataFrame) -> Figure:
    """A column of dots per quantity, protocols downwards, with intervals over victims.

    Gains are over the prior alone. Where there is none, the figure says why: labels that are sent
    need no attack, and other seats were not attacked in these results.
    """
    lines = list(records(table))
    height = 0.2 * len(lines) + 0.8
    figure = Figure(figsize=(PAGE, height), dpi=200, layout="constrained")
    axes = figure.subplots(1, len(_MEASURED), sharey=True)
    for panel, axis in zip(_MEASURED, axes, strict=True):
        _draw(axis, panel, lines)
    axes[0].set_yticks(range(len(lines)), [written(str(line["protocol"])) for line in lines])
    axes[0].invert_yaxis()
    return figure


def _draw(axis: Axes, panel: _Panel, lines: list[dict[str, Any]]) -> None:
    tidy(axis)
    for y, line in enumerate(lines):
        value = float(line[panel.name])
        low, high = (float(line.get(panel.name + end, math.nan)) for end in ("_low", "_high"))
        if math.isnan(value):
            axis.annotate(
                _why_nothing(panel, line), (0.06, y), xycoords=("axes fraction", "data"),
                va="center", fontsize=SMALL, color="0.4",
            )  # fmt: skip
            continue
        if not math.isnan(low):
            axis.plot([low, high], [y, y], color=_COLOR, linewidth=1.6, alpha=0.4)
        axis.plot([value], [y], "o", color=_COLOR, markersize=3.5)
    axis.set_title(panel.title, fontsize=NORMAL)
    axis.tick_params(labelsize=SMALL)
    if panel.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    elif panel.name.endswith("gain"):
        axis.axvline(0, color="0.6", linewidth=1)


def _why_nothing(panel: _Panel, line: Mapping[str, Any]) -> str:
    kind = PROTOCOLS.get(str(line["protocol"]))  # None: a plug-in, of which nothing is known
    if panel.name == "labels_gain" and kind is not None and kind().labels_travel:
        return "labels are sent"
    return "not attacked here"
