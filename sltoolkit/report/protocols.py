"""Protocols side by side: the utility, the costs and the leakage of each."""

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
from sltoolkit.report.formats import gain_text, number, records, spread
from sltoolkit.report.written_names import written


@final
@dataclass(frozen=True)
class _Panel:
    """A panel of the figure, which shows one column of the protocol table."""

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
_SENT = "labels are sent"
_COLOR = "0.25"  # not a method's color, since the panels show quantities


def protocol_table(
    summary: pd.DataFrame, bytes_per_epoch: Mapping[str, float], seconds: Mapping[str, float]
) -> pd.DataFrame:
    """One line per protocol: its summary, and what an epoch of it costs.

    Args:
        summary: the summary of rows with one setting per protocol, from `sl.table`.
        bytes_per_epoch: protocol -> bytes on the wire.
        seconds: protocol -> latency of an epoch in seconds, for machines and a link of your choice.

    Raises:
        SpecError: if the summary has several lines for one protocol.
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
    """A protocol table as strings: numbers with intervals, and why a gain is missing.

    Labels that are sent need no attack; `-` says that nothing was attacked.
    """
    return pd.DataFrame([_cells(line) for line in records(table)], dtype=object)


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    return {
        "protocol": str(line["protocol"]),
        "accuracy": spread(line, "accuracy"),
        "majority share": number(line["chance"]),
        "balanced accuracy": spread(line, "balanced_accuracy"),
        "MB per epoch": f"{line['epoch_mb']:.2f}",
        "seconds per epoch": f"{line['epoch_seconds']:.2f}",
        "reconstruction gain": _gain(line, "reconstruction"),
        "by": str(line["reconstruction_attack"]) or "-",
        "label gain": _gain(line, "labels"),
    }


def _gain(line: Mapping[str, Any], family: str) -> str:
    if math.isnan(line[f"{family}_gain_low"]):
        return _SENT if family == "labels" and _labels_are_sent(line) else "-"
    return gain_text(line, family)


def protocol_figure(table: pd.DataFrame) -> Figure:
    """Draw a panel of dots per quantity, with a row per protocol and intervals over victims.

    Gains are over the prior alone; the dot is the upper end of their interval. If a gain is
    missing, the figure says why: labels that are sent need no attack, an attack is missing, so that
    there is no upper end, or other targets were not attacked in these results.
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
        low, high = (float(line.get(panel.name + end, math.nan)) for end in ("_low", "_high"))
        value = float(line.get(panel.name, high))
        if math.isnan(value):
            axis.annotate(
                _why_nothing(panel, line), (0.06, y), xycoords=("axes fraction", "data"),
                va="center", fontsize=SMALL, color="0.4",
            )  # fmt: skip
            continue
        if not math.isnan(low):
            axis.plot([low, high], [y, y], color=_COLOR, linewidth=1.6, alpha=0.4)
        axis.plot([value], [y], "o", color=_COLOR, markersize=3.5)
    shares = {number(line["chance"]) for line in lines if not math.isnan(line["chance"])}
    beside = f"\n(majority share {', '.join(sorted(shares))})" if shares else ""
    title = panel.title + (beside if panel.name == "accuracy" else "")
    axis.set_title(title, fontsize=NORMAL)
    axis.tick_params(labelsize=SMALL)
    if panel.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    elif panel.name.endswith("gain"):
        axis.axvline(0, color="0.6", linewidth=1)


def _why_nothing(panel: _Panel, line: Mapping[str, Any]) -> str:
    if panel.name == "labels_gain" and _labels_are_sent(line):
        return _SENT
    if math.isfinite(line.get(f"{panel.name}_low", math.nan)):
        return "an attack is missing"
    return "not attacked here"


def _labels_are_sent(line: Mapping[str, Any]) -> bool:
    """Whether the clients send labels in the clear; False for a protocol that isn't registered."""
    kind = PROTOCOLS.get(str(line["protocol"]))
    return kind is not None and kind().labels_travel
