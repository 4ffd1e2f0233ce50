"""Every figure that an experiment's store can fill: `sltoolkit report DIR --figures`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from matplotlib import rc_context
from torch import Tensor

from sltoolkit.bench.run import collect, stored_plan
from sltoolkit.bench.store import Store
from sltoolkit.errors import SpecError, StoreError
from sltoolkit.metrics import KINDS, METRICS
from sltoolkit.report.canvas import Figure
from sltoolkit.report.curves import curves_figure
from sltoolkit.report.grid import Tiles, grid_figure, ranked
from sltoolkit.report.plugin_labels import labels
from sltoolkit.report.series import charts
from sltoolkit.report.tables import prepared
from sltoolkit.rows.columns import SETTING

FORMATS = ("pdf", "png")


def write_figures(folder: Path) -> list[Path]:
    """Write all figures to `folder`/figures, as PDF and as PNG.

    Each setting has a grid of reconstructions. Curves show quality over the cut, the amount and
    domain of the attacker's samples, the epochs of the victim's training, and the steps of the
    attack, where the experiment varied them. A grid shows three of the targets whose images are
    kept: the best, the median and the worst by mean rank over all attacks and defenses in it.

    Returns:
        The paths of the files.

    Raises:
        StoreError: if there is no finished experiment, or a file can't be written.
        SpecError: if no attack reconstructed anything.
    """
    plan, store = stored_plan(folder), Store(folder)
    rows = collect(plan, store)
    cells = [str(c) for c in rows.loc[rows["status"] == "ok", "cell"].unique()]
    progress = {c: store.cell(c).get("progress", {}) for c in cells}
    drawn = dict(_grids(rows, store))
    for chart in charts(rows, progress):
        drawn[f"by_{_slug(chart.axis)}-{_slug(chart.setting)}"] = curves_figure(chart)
    if not drawn:
        raise SpecError(f"no attack in {folder} reconstructed anything: there is nothing to draw")
    return [path for name, figure in drawn.items() for path in _save(figure, folder, name)]


def _grids(rows: pd.DataFrame, store: Store) -> Iterator[tuple[str, Figure]]:
    """Name and figure of one grid per setting, for the first victim and the first attacker seed."""
    frame = prepared(rows)
    frame = frame[(frame["family"] == "reconstruction") & (frame["status"] == "ok")]
    for values, part in frame.groupby(SETTING, sort=False, dropna=False):
        metric = next((m for m in KINDS["reconstruction"] if (part["metric"] == m).any()), None)
        part = part[part["metric"] == metric].copy()
        part["label"] = labels(list(part["defense"]), list(part["defense_params"]), lone=2)
        part = part.drop_duplicates(["label", "variant"])
        loaded = [(line, store.images(str(line["cell"]))) for line in part.to_dict("records")]
        with_images = [(line, t) for line, t in loaded if "images" in t]
        if metric is None or not with_images or with_images[0][1]["truth"].ndim < 3:
            continue
        truth = with_images[0][1]["truth"]
        shown = [(line, t) for line, t in with_images if _same(t["truth"], truth)]
        tiles = [_tiles(line, t, metric) for line, t in shown]
        named = [str(v) for k, v in zip(SETTING, values, strict=True) if k != "protocol_params"]
        chosen = ranked(
            [t[f"score/{metric}"] for _, t in shown], kept=len(truth),
            higher_is_better=METRICS[metric].higher_is_more_leak,
        )  # fmt: skip
        yield "grid-" + _slug("-".join(named)), grid_figure(truth, tiles, chosen, metric)


def _tiles(line: dict[object, object], tensors: dict[str, Tensor], metric: str) -> Tiles:
    images = tensors["images"]
    return Tiles(
        defense=str(line["label"]), attack=str(line["variant"]), images=images,
        scores=tensors[f"score/{metric}"][: len(images)],
    )  # fmt: skip


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _save(figure: Figure, folder: Path, name: str) -> Iterator[Path]:
    for ending in FORMATS:
        path = folder / "figures" / f"{name}.{ending}"
        try:
            path.parent.mkdir(exist_ok=True)
            with rc_context({"pdf.fonttype": 42}):  # TrueType fonts, which every publisher accepts
                figure.savefig(path, facecolor="white", bbox_inches="tight", pad_inches=0.02)
        except OSError as error:
            raise StoreError(f"{path} can't be written: {error}") from error
        yield path


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
