"""Reconstruction grids: every attack under every defense, for the best, median and worst target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from matplotlib.axes import Axes
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.report.canvas import NORMAL, PAGE, SMALL, Figure
from sltoolkit.report.formats import METRIC_NAMES
from sltoolkit.report.tiles import SCORE_HEIGHT, bare, draw, write_score
from sltoolkit.report.written_names import written

PLACES = ("best", "median", "worst")
_TILE = 0.62  # inches
_LEFT, _TOP, _BOTTOM = 1.12, 0.32, 0.42


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Tiles:
    """One attack's reconstructions under one defense.

    Attributes:
        defense: the defense, in words.
        attack: the attack, in words.
        images: images (N, C, H, W) or signals (N, C, L) in [0, 1].
        scores: their scores (N,) in the metric of the grid.
    """

    defense: str
    attack: str
    images: Tensor
    scores: Tensor


def ranked(
    scores: Sequence[Tensor], *, higher_is_better: bool, kept: int | None = None
) -> list[int]:  # fmt: skip
    """The indices of the targets with the best, the median and the worst mean rank.

    Args:
        scores: the scores (N,) of every attack under every defense that is shown.
        higher_is_better: the metric's direction.
        kept: how many targets, from the first on, have images and can be chosen; None for all.
    """
    ranks = [s.argsort(descending=higher_is_better, stable=True).argsort() for s in scores]
    order = torch.stack(ranks).double().mean(0)[:kept].argsort(stable=True).tolist()
    return [order[0], order[(len(order) - 1) // 2], order[-1]]


def grid_figure(
    truth: Tensor, tiles: Sequence[Tiles], chosen: Sequence[int], metric: str
) -> Figure:
    """Originals on top, a row per attack, and for each defense the chosen targets side by side.

    The targets are the same everywhere, so a row compares defenses and a column compares attacks.
    Below each tile stands its own score; an attack without a result leaves a gap.

    Args:
        truth: the originals, in the shape of the tiles' images.
        tiles: the tiles of every attack under every defense, as far as there are results.
        chosen: the best, the median and the worst target, from `ranked`.
        metric: the metric of the scores.

    Raises:
        SpecError: if there is nothing to show, or tiles differ in shape from the originals.
    """
    wrong = [t for t in tiles if t.images.shape != truth.shape]
    if not tiles or wrong:
        shapes = [tuple(t.images.shape) for t in wrong]
        raise SpecError(
            f"a grid needs reconstructions shaped as the originals {tuple(truth.shape)}, got "
            f"{shapes or 'none'}"
        )
    attacks = list(dict.fromkeys(t.attack for t in tiles))
    defenses = list(dict.fromkeys(t.defense for t in tiles))
    each = len(chosen)
    columns, rows = each * len(defenses), 1 + len(attacks)
    tile = min(_TILE, (PAGE - _LEFT) / columns)
    width, height = _LEFT + tile * columns, _TOP + _BOTTOM + (tile + SCORE_HEIGHT) * rows
    figure = Figure(figsize=(width, height), dpi=200)
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=_LEFT / width, right=0.998, top=1 - _TOP / height, bottom=_BOTTOM / height,
        wspace=0.06, hspace=0.22,
    )  # fmt: skip
    found = {(t.attack, t.defense): t for t in tiles}
    for d, defense in enumerate(defenses):
        block = grid[:, d * each : (d + 1) * each]
        _heading(figure, block[0], defense, height)
        _row(block[0], truth, chosen)
        for axes, attack in zip(block[1:], attacks, strict=True):
            own = found.get((attack, defense))
            if own is None:
                _row(axes, None, chosen)
            else:
                _row(axes, own.images, chosen, own.scores, truth, metric)
    for axes, name in zip(grid, ["original", *attacks], strict=True):
        axes[0].set_ylabel(
            written(name).replace(" (", "\n("), rotation=0, ha="right", va="center", fontsize=NORMAL
        )
    said = (
        f"below each: {METRIC_NAMES.get(metric, metric)}; best, median and worst of\n"
        f"{len(truth)} targets, by mean rank over all that is shown"
    )
    figure.text(0.004, 0.004, said, fontsize=SMALL)
    return figure


def _heading(figure: Figure, axes: Sequence[Axes], defense: str, height: float) -> None:
    left, right = axes[0].get_position().x0, axes[-1].get_position().x1
    figure.text(
        (left + right) / 2, 1 - 0.03 / height, written(defense), ha="center", va="top",
        fontsize=NORMAL,
    )  # fmt: skip
    for axis, place in zip(axes, PLACES, strict=False):
        axis.set_title(place, fontsize=SMALL, pad=2)


def _row(
    axes: Sequence[Axes], images: Tensor | None, chosen: Sequence[int],
    scores: Tensor | None = None, truth: Tensor | None = None, metric: str = "",
) -> None:  # fmt: skip
    for axis, i in zip(axes, chosen, strict=True):
        bare(axis)
        if images is None:
            continue
        draw(axis, images[i], None if truth is None else truth[i])
        if scores is not None:
            write_score(axis, float(scores[i]), metric)
