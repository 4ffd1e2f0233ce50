"""Figures of results: originals above their reconstructions, leakage against utility.

They are built on `matplotlib.figure.Figure` itself, not on pyplot, so they need no global state and
no display.
"""

from collections.abc import Mapping
from textwrap import fill

from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import primary
from sltoolkit.report.canvas import PAGE, SMALL, Figure
from sltoolkit.report.formats import METRIC_NAMES
from sltoolkit.report.tiles import SCORE_HEIGHT, draw, write_score
from sltoolkit.report.tradeoff import tradeoff_figure
from sltoolkit.report.written_names import written

__all__ = ["reconstruction_figure", "tradeoff_figure"]

_LABEL_WIDTH = 1.15  # inches, left of the images
_TILE = 1.0  # inches, at most
_NOTE = 0.18  # inches, for the note that names the metric
_GAP = 1.05  # from tile to tile, in tiles


def reconstruction_figure(images: Mapping[str, Tensor]) -> Figure:
    """One row of images per name: originals on top, then what attacks made of them.

    Below each reconstruction stands its score in the primary metric for images of this size: SSIM,
    or MSE for images that are too small for SSIM. The figure is at most as wide as a page.

    Args:
        images: name -> (N, C, H, W) in [0, 1], gray (C = 1) or RGB (C = 3); the same shape in all.

    Raises:
        SpecError: if there are no images, if rows differ in the number or shape of images, or if
            the images have neither 1 nor 3 channels.
    """
    shapes = {tuple(batch.shape) for batch in images.values()}
    if len(shapes) != 1 or 0 in next(iter(shapes)):
        raise SpecError(
            "a reconstruction figure needs the same number of images in every row, at least one, "
            f"of one shape; got { {name: tuple(batch.shape) for name, batch in images.items()} }"
        )
    shape = shapes.pop()
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise SpecError(f"images are (N, 1 or 3, H, W), got {shape}")
    metric = primary("reconstruction", shape[1:])
    tile = min(_TILE, (PAGE - _LABEL_WIDTH) / shape[0] / _GAP)
    width = _LABEL_WIDTH + tile * _GAP * shape[0]
    height = (tile * _GAP + SCORE_HEIGHT) * len(images) + _NOTE
    figure = Figure(figsize=(width, height), dpi=200)
    axes = figure.subplots(len(images), shape[0], squeeze=False)
    figure.subplots_adjust(
        left=_LABEL_WIDTH / width, right=0.998, top=1 - 0.02 / height,
        bottom=(_NOTE + SCORE_HEIGHT) / height, wspace=_GAP - 1,
        hspace=_GAP - 1 + SCORE_HEIGHT / tile,
    )  # fmt: skip
    original = next(iter(images.values()))
    for row, (name, batch) in zip(axes, images.items(), strict=True):
        row[0].set_ylabel(
            _wrapped(name), rotation=0, ha="right", va="center", labelpad=6, fontsize=SMALL
        )
        scores = metric.function(batch.float().clamp(0, 1), original.float())
        for axis, image, score in zip(row, batch, scores, strict=True):
            draw(axis, image)
            if batch is not original:
                write_score(axis, float(score), metric.name)
    said = f"below each: {METRIC_NAMES.get(metric.name, metric.name)}"
    figure.text(0.004, 0.02 / height, said, fontsize=SMALL)
    return figure


def _wrapped(name: str) -> str:
    lines = written(name).replace(" (", "\n(").replace("+", "+\n").splitlines()
    return "\n".join(fill(line, 20) for line in lines)
