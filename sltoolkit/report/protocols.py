"""Protocols side by side: what each is worth, costs and leaks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sltoolkit.errors import SpecError
from sltoolkit.report.canvas import COLORS, Figure, tidy
from sltoolkit.report.formats import records, spread


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
    _Panel("reconstruction_gain", "reconstruction gain\n(SSIM over the prior)"),
    _Panel("labels_gain", "label gain\n(leak AUC over the prior)"),
)


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
            "rows of one defence, data set and model"
        )
    table = summary.copy()
    table["epoch_mb"] = table["protocol"].map(bytes_per_epoch).astype(float) / 1e6
    table["epoch_seconds"] = table["protocol"].map(seconds).astype(float)
    return table


def formatted_protocols(table: pd.DataFrame) -> pd.DataFrame:
    """A protocol table as strings: numbers with intervals, `-` where no seat can attack."""
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
    """A row of dots per quantity, protocols downwards, with intervals over victims."""
    lines = list(records(table))
    height = 0.32 * len(lines) + 1.5
    figure = Figure(figsize=(13, height), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(_MEASURED), sharey=True)
    for panel, axis, color in zip(_MEASURED, axes, COLORS, strict=False):
        _draw(axis, panel, lines, color)
    axes[0].set_yticks(range(len(lines)), [str(line["protocol"]) for line in lines])
    axes[0].invert_yaxis()
    return figure


def _draw(axis: Axes, panel: _Panel, lines: list[dict[str, Any]], color: str) -> None:
    tidy(axis)
    for y, line in enumerate(lines):
        value = float(line[panel.name])
        low, high = (float(line.get(panel.name + end, math.nan)) for end in ("_low", "_high"))
        if math.isnan(value):
            axis.annotate(
                "no attack applies", (0.03, y), xycoords=("axes fraction", "data"), va="center",
                fontsize=7, color="0.5",
            )  # fmt: skip
            continue
        if not math.isnan(low):
            axis.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.5)
        axis.plot([value], [y], "o", color=color, markersize=6)
    axis.set_title(panel.title, fontsize=10)
    if panel.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    elif panel.name.endswith("gain"):
        axis.axvline(0, color="0.6", linewidth=1)
