"""Figures of costs: bytes by number of clients and of parameters, and time of an epoch by cut."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Literal, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from sltoolkit.costs import Volume, Workload, latency, singh, splitfed
from sltoolkit.costs.units import bytes_text, count_text, seconds_text
from sltoolkit.report.canvas import COLORS, Figure, tidy

METHOD_NAMES: Mapping[str, str] = {
    "split_shared": "split, weights handed on",
    "split_private": "split, private weights",
    "federated": "federated",
    "split": "split",
    "splitfed": "SplitFed",
    "local_loss": "local losses",
}
_STYLES = {
    "federated": (COLORS[1], "-"),
    "split_shared": (COLORS[0], "-"),
    "split_private": (COLORS[4], "--"),
    "split": (COLORS[0], "-"),
    "splitfed": (COLORS[2], "-"),
    "local_loss": (COLORS[3], "-"),
}
_MARKERS = {"split": ("o", 8), "splitfed": ("s", 5), "local_loss": ("^", 4)}
"""Shapes and sizes of markers, the bottom one first, so that equal curves are all visible."""
_SECONDS = [
    *(n * 10.0**e for e in range(-3, 1) for n in (1, 2, 3, 5)),
    *(10, 20, 30),
    *(60 * n for n in (1, 2, 3, 5, 10, 20, 30)),
    *(3600 * n for n in (1, 2, 3, 5, 7, 12)),
    *(86_400 * n * 10**e for e in range(6) for n in (1, 2, 3, 5)),
]
_TICKS = 7  # along an axis of times, at most
_POINTS = 80  # along a curve
_SPAN = 100  # model sizes range from so many times smaller to so many times larger
_COLUMNS = 2  # columns of latency panels

Curve = Callable[[Workload], Volume]


@final
@dataclass(frozen=True, kw_only=True)
class _Paper:
    """How one paper counts bytes, and the break-evens that follow."""

    title: str
    curves: Mapping[str, Curve]
    names: Mapping[str, str]
    even: Mapping[str, Callable[[Workload, float], float]]


_PAPERS = (
    _Paper(
        title="Singh et al.: weights count once",
        curves=singh.FORMULAS,
        names=METHOD_NAMES,
        even={
            "split_shared": lambda work, params: singh.break_even_clients(
                params=params, samples=work.samples, cut_width=work.cut_width,
                shared_share=work.client_share,
            ),
            "split_private": lambda work, params: singh.break_even_clients(
                params=params, samples=work.samples, cut_width=work.cut_width
            ),
        },
    ),
    _Paper(
        title="SplitFed: weights count down and up",
        curves={name: splitfed.FORMULAS[name] for name in ("split", "federated")},
        names={"split": "split, SplitFed V1 and V2", "federated": "federated"},
        even={
            "split": lambda work, params: splitfed.break_even_clients(
                params=params, samples=work.samples, cut_width=work.cut_width,
                client_share=work.client_share,
            )
        },
    ),
)  # fmt: skip


def communication_figure(work: Workload, clients: Sequence[int], *, title: str) -> Figure:
    """Total bytes of an epoch by clients and by model size, and where split learning sends less.

    Each paper has its own row, because the papers count weights differently.

    Args:
        work: the training; its own number of clients is not used.
        clients: the numbers of clients to mark, in ascending order.
        title: the figure's title.
    """
    figure = Figure(figsize=(14, 8.6), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, paper in zip(figure.subplots(2, 3), _PAPERS, strict=True):
        _by_clients(axes[0], paper, work, clients)
        _by_params(axes[1], paper, replace(work, clients=clients[len(clients) // 2]))
        _plane(axes[2], paper, work, clients)
        for axis in axes:
            tidy(axis)
    return figure


def latency_figure(
    seconds: Mapping[int, Mapping[str, Mapping[str, float]]],
    federated: Mapping[int, float],
    *,
    title: str,
) -> Figure:
    """Seconds per epoch by cut, a panel per number of clients; a star marks a protocol's best cut.

    Args:
        seconds: number of clients -> protocol -> cut -> seconds, from `latency.by_cut`.
        federated: number of clients -> seconds of federated learning, which has no cut.
        title: the figure's title.
    """
    columns = min(_COLUMNS, len(seconds))
    rows = ceil(len(seconds) / columns)
    figure = Figure(figsize=(6.8 * columns, 3.9 * rows + 0.9), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (clients, protocols) in zip(grid, seconds.items(), strict=False):
        _by_cut(axis, protocols, federated[clients])
        axis.set_title(f"{clients:,} client{'s' * (clients > 1)}", fontsize=10)
    for axis in grid[len(seconds) :]:
        axis.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False,
                  fontsize=9)  # fmt: skip
    return figure


def _by_clients(axis: Axes, paper: _Paper, work: Workload, clients: Sequence[int]) -> None:
    most = min(work.samples, max(3 * _furthest_even(work), clients[-1]))
    shown = np.unique(np.geomspace(1, max(most, 2), _POINTS).round()).astype(int)
    works = [replace(work, clients=int(k)) for k in shown if k <= work.samples]
    _curves(axis, paper, [w.clients for w in works], works)
    for name, even in paper.even.items():
        at = even(work, work.params)
        if 1 <= at <= most:
            axis.axvline(at, color=_STYLES[name][0], ls=":", lw=1)
    for name, curve in paper.curves.items():
        dots = [curve(replace(work, clients=k)).in_bytes().total for k in clients]
        axis.plot(clients, dots, "o", ms=4, color=_STYLES[name][0])
    axis.set_title(paper.title, fontsize=10)
    axis.set_xlabel("clients (dotted: break-even)")
    axis.set_ylabel("sent in one epoch, in all")
    axis.legend(frameon=False, fontsize=8)
    _log(axis, "x", count_text)


def _by_params(axis: Axes, paper: _Paper, work: Workload) -> None:
    sizes = np.geomspace(work.params / _SPAN, work.params * _SPAN, _POINTS)
    works = [
        replace(work, params=round(n), client_params=round(n * work.client_share))
        for n in sizes
        if n >= 1
    ]
    _curves(axis, paper, [w.params for w in works], works)
    axis.axvline(work.params, color="0.4", ls=":", lw=1)
    axis.set_title(f"{work.clients:,} client{'s' * (work.clients > 1)}", fontsize=10)
    axis.set_xlabel("parameters, client's share as it is (dotted: this model)")
    axis.set_ylabel("sent in one epoch, in all")
    _log(axis, "x", count_text)


def _curves(axis: Axes, paper: _Paper, x: Sequence[int], works: Sequence[Workload]) -> None:
    for name, curve in paper.curves.items():
        color, style = _STYLES[name]
        total = [curve(w).in_bytes().total for w in works]
        axis.plot(x, total, color=color, ls=style, lw=1.6, label=paper.names[name])
    _log(axis, "y", bytes_text)


def _plane(axis: Axes, paper: _Paper, work: Workload, clients: Sequence[int]) -> None:
    """Draw where split learning sends less, in the plane of clients and parameters."""
    sizes = np.geomspace(work.params / _SPAN, work.params * _SPAN, _POINTS)
    for name, even in paper.even.items():
        color, style = _STYLES[name]
        at = [even(work, float(n)) for n in sizes]
        if all(map(isfinite, at)):
            axis.plot(at, sizes, color=color, ls=style, lw=1.6, label=paper.names[name])
            axis.fill_betweenx(sizes, at, 1e30, color=color, alpha=0.06, lw=0)
    axis.plot(clients, [work.params] * len(clients), "o", ms=5, color="0.25", ls="none",
              label="this model")  # fmt: skip
    axis.set_xlim(0.7, 1.4 * work.samples)
    axis.set_ylim(sizes[0], sizes[-1])
    axis.set_title("break-even; shaded: split sends less than federated", fontsize=10)
    axis.set_xlabel("clients")
    axis.set_ylabel("parameters")
    axis.legend(edgecolor="none", framealpha=0.85, fontsize=8)
    _log(axis, "x", count_text)
    _log(axis, "y", count_text)


def _by_cut(axis: Axes, protocols: Mapping[str, Mapping[str, float]], federated: float) -> None:
    cuts = list(next(iter(protocols.values())))
    for name, times in protocols.items():
        color = _STYLES[name][0]
        marker, size = _MARKERS[name]
        axis.plot(cuts, list(times.values()), color=color, marker=marker, ms=size, mec=color,
                  mfc="white", lw=1.4, label=METHOD_NAMES[name])  # fmt: skip
        chosen = latency.best(times)
        axis.plot([chosen], [times[chosen]], "*", color=color, ms=10 + 1.5 * size, mec="white",
                  zorder=3)  # fmt: skip
    axis.axhline(federated, color=COLORS[1], ls="--", lw=1.4, label="federated (no cut)")
    axis.plot([], [], "*", color="0.4", ms=11, ls="none", label="best cut")
    axis.set_ylabel("one epoch")
    axis.tick_params(axis="x", labelsize=8)
    for label in axis.get_xticklabels():
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    tidy(axis)
    _log_seconds(axis)


def _furthest_even(work: Workload) -> int:
    """The largest break-even number of clients; 0 if there is none."""
    found = [even(work, work.params) for paper in _PAPERS for even in paper.even.values()]
    return ceil(max((k for k in found if isfinite(k)), default=0))


def _log(axis: Axes, which: Literal["x", "y"], text: Callable[[float], str]) -> None:
    """Make an axis logarithmic, with ticks at powers of ten, or at 1, 2 and 5 times them."""
    axis.set(**{f"{which}scale": "log"})
    scale = getattr(axis, f"{which}axis")
    low, high = getattr(axis, f"get_{which}lim")()
    scale.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=9))
    scale.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    scale.set_minor_formatter(NullFormatter())


def _log_seconds(axis: Axes) -> None:
    """Make the y axis logarithmic, with ticks where people expect them: 10 s, 30 min, 5 h."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    within = [s for s in _SECONDS if low <= s <= high]
    step = max(1, ceil(len(within) / _TICKS))
    axis.yaxis.set_major_locator(FixedLocator(within[::step]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds_text(value)))
    axis.yaxis.set_minor_locator(NullLocator())
