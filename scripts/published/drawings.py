"""What the code of each kind of figure says today, from made-up numbers.

A figure is stale, too, if its labels, legends or notes have changed. Texts are compared, and
neither sizes nor colors.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from published.measure import Measured, digest
from sltoolkit.errors import lookup
from sltoolkit.metrics import Interval
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.curves import curves_figure
from sltoolkit.report.figures import reconstruction_figure, tradeoff_figure
from sltoolkit.report.grid import Tiles, grid_figure
from sltoolkit.report.protocols import protocol_figure, protocol_table
from sltoolkit.report.series import Chart, Line
from sltoolkit.report.tables import summary

_WORD = re.compile(r"[A-Za-z]{2}")  # an axis may number its ticks as it likes


def drawn(kind: str) -> Measured:
    """The texts of a figure of this kind, as a canary."""
    figure = lookup(KINDS, kind, "kind of figure")()
    said = {text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)}
    texts = sorted(t for t in said if _WORD.search(t) and "$" not in t)
    return Measured(bits=digest(texts, {}), values={}, settings={"texts": texts})


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": "mnist", "model": "lenet", "cut": "relu2", "protocol": "vanilla",
        "defense": "none", "defense_params": "{}", "attack": "none", "attack_params": "{}",
        "family": "utility", "victim_seed": 0, "metric": None, "value": math.nan,
        "baseline": math.nan, "gain": math.nan, "utility": 0.8, "chance": 0.1, **changes,
    }  # fmt: skip


def _attacked(family: str, metric: str, **changes: Any) -> dict[str, Any]:
    measured = {"value": 0.75, "baseline": 0.25, "gain": 0.5}
    return _row(attack="decoder", family=family, metric=metric, **measured, **changes)


def _protocols() -> Figure:
    """Every protocol without attacks, so that the figure says why; one has a gain."""
    rows = [_row(protocol=name) for name in PROTOCOLS]
    rows += [_attacked("reconstruction", "ssim", protocol=next(iter(PROTOCOLS)))]
    ones = dict.fromkeys(PROTOCOLS, 1e6)
    return protocol_figure(protocol_table(summary(pd.DataFrame(rows)), ones, ones))


def _tradeoff() -> Figure:
    noise = {"defense": "gaussian_noise", "defense_params": json.dumps({"std": 1.0})}
    useless = {"defense": "nopeek", "defense_params": "{}", "utility": 0.1}
    rows = [
        _attacked(family, metric, victim_seed=seed, **defense)
        for family, metric in (("reconstruction", "ssim"), ("labels", "leak_auc"))
        for defense in ({}, noise, useless)
        for seed in range(2)
    ]
    return tradeoff_figure(summary(pd.DataFrame(rows)))


def _curves(axis: str) -> Figure:
    points: Mapping[str | float, Interval] = {
        place: Interval(value=0.5, low=0.4, high=0.6, n=3) for place in (1.0, 2.0)
    }
    lines = [Line(panel="none", method=method, points=points) for method in ("decoder", "sdar", "")]
    return curves_figure(Chart(axis=axis, setting="mnist lenet", metric="ssim", lines=lines))


def _grid() -> Figure:
    images = torch.linspace(0, 1, 3 * 28 * 28).reshape(3, 1, 28, 28)
    tiles = [
        Tiles(defense=defense, attack="decoder", images=images, scores=torch.full((3,), 0.5))
        for defense in ("none", "gaussian_noise(std=1)")
    ]
    return grid_figure(images, tiles, [0, 1, 2], "ssim")


def _reconstructions() -> Figure:
    images = torch.linspace(0, 1, 2 * 28 * 28).reshape(2, 1, 28, 28)
    return reconstruction_figure({"original": images, "none\ndecoder": images})


KINDS: dict[str, Callable[[], Figure]] = {
    "by_cut": lambda: _curves("cut"),
    "by_epochs": lambda: _curves("training.epochs"),
    "by_samples": lambda: _curves("data.aux"),
    "by_source": lambda: _curves("data.aux_from"),
    "by_step": lambda: _curves("step"),
    "grid": _grid,
    "protocols": _protocols,
    "reconstructions": _reconstructions,
    "tradeoff": _tradeoff,
}
"""Kind -> function that draws one."""
