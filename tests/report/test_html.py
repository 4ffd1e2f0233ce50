"""Figures and the page, from synthetic rows whose numbers are known."""

import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from skimage.io import imread
from support.rows import assert_readable, fail, make_rows, row

from sltoolkit.errors import SpecError
from sltoolkit.metrics import mse, ssim
from sltoolkit.report.figures import reconstruction_figure, tradeoff_figure
from sltoolkit.report.formats import formatted
from sltoolkit.report.html import write_all
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import summary


def drawn(figure: Figure) -> np.ndarray[Any, Any]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    pixels: np.ndarray[Any, Any] = imread(buffer)[..., :3]
    return pixels


def written(figure: Figure) -> set[str]:
    return {t.get_text() for axis in figure.axes for t in axis.texts if t.get_text()}


def many_rows(count: int) -> pd.DataFrame:
    rows = [
        row(defense="noise", defense_params=json.dumps({"std": i}), victim_seed=seed,
            attack="decoder", gain=0.9 - i / count + seed / 50, value=1.0,
            utility=0.8 - i / count / 4 + seed / 50)
        for i in range(count) for seed in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_tradeoff_has_a_panel_per_family_and_labels_every_point() -> None:
    figure = tradeoff_figure(summary(make_rows()))
    assert len(figure.axes) == 2
    for axis in figure.axes:
        texts = {t.get_text() for t in axis.texts}
        assert {"undefended", "gaussian noise (std=0.5)", "gaussian noise (std=2)"} <= texts
    assert "hypervolume" in figure.axes[0].get_title()
    assert drawn(figure).std() > 5
    assert_readable(figure)
    assert len(tradeoff_figure(summary(make_rows()), "labels").axes) == 1


def test_hypervolume_and_front_are_those_of_the_points() -> None:
    table = summary(make_rows(with_labels=False))
    figure = tradeoff_figure(table)
    front = next(x for x in figure.axes[0].lines if x.get_linestyle() == "--")
    assert np.asarray(front.get_xdata()).tolist() == pytest.approx([0.70, 0.79, 0.82])
    area = 0.70 * (1 - 0.01) + 0.09 * (1 - 0.44) + 0.03 * (1 - 0.82)
    assert f"hypervolume {area:.3f}" in figure.axes[0].get_title()


def test_incomplete_points_are_hollow_and_off_the_front() -> None:
    table = summary(fail(make_rows(with_labels=False), "strong", "decoder", 0))
    axis = tradeoff_figure(table).axes[0]
    hollow = [x for x in axis.lines if x.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    front = next(x for x in axis.lines if x.get_linestyle() == "--")
    assert np.asarray(front.get_xdata()).tolist() == pytest.approx([0.79, 0.82])


@pytest.mark.parametrize("count", [1, 9, 30])
def test_labels_of_a_figure_do_not_overlap(count: int) -> None:
    figure = tradeoff_figure(summary(many_rows(count)))
    axis = figure.axes[0]
    drawn(figure)
    boxes = [t.get_window_extent() for t in axis.texts if t.get_text()]
    boxes = [Bbox.from_bounds(b.x0, b.y0, b.width, b.height) for b in boxes]
    assert len(boxes) == count
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            shared = Bbox.intersection(one, other)
            assert shared is None or shared.width * shared.height < 1
    assert_readable(figure)
    if count == 30:
        assert any("noise (std=29)" in text for text in written(figure))


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_are_drawn_with_their_names(channels: int) -> None:
    images = torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    figure = reconstruction_figure({"original": images, "undefended": images.flip(0)})
    assert len(figure.axes) == 8
    assert {a.get_ylabel() for a in figure.axes} - {""} == {"original", "undefended"}
    pixels = drawn(figure)
    assert pixels.std() > 20
    shown = np.asarray(figure.axes[0].images[0].get_array())
    want = images[0].permute(1, 2, 0).numpy()
    assert np.allclose(shown.reshape(8, 8, channels), want)


@pytest.mark.parametrize(("side", "metric"), [(16, ssim), (8, mse)])
def test_below_a_reconstruction_stands_its_score(
    side: int, metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    images = torch.rand(16, 1, side, side, generator=torch.Generator().manual_seed(0))
    name = "dp_activations(epsilon=300)\ndeep_image_prior"
    figure = reconstruction_figure({"original": images, name: images * 0.5})
    digits = 2 if metric is ssim else 3
    below = [axis.get_xlabel() for axis in figure.axes]
    assert below[:16] == [""] * 16
    assert below[16:] == [f"{float(s):.{digits}f}" for s in metric(images * 0.5, images)]
    assert figure.axes[16].get_ylabel() == "DP activations\n(ε=300)\ndeep image prior"
    assert_readable(figure)


def test_reconstructions_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(SpecError, match="same number of images"):
        reconstruction_figure({"original": torch.rand(2, 1, 8, 8), "x": torch.rand(3, 1, 8, 8)})
    with pytest.raises(SpecError, match="of one shape"):
        reconstruction_figure({"original": torch.rand(2, 1, 8, 8), "x": torch.rand(2, 1, 9, 9)})
    with pytest.raises(SpecError, match="1 or 3"):
        reconstruction_figure({"original": torch.rand(2, 2, 8, 8)})


def test_report_is_self_contained_and_holds_every_number(tmp_path: Path) -> None:
    rows = fail(make_rows(), "weak", "whitebox", 0)
    rows["experiment"] = "a <b>bold</b> name"
    images = {"original": torch.rand(2, 3, 8, 8), "undefended": torch.rand(2, 3, 8, 8)}
    table = write_all(tmp_path, rows, images, demonstration=True)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    loads = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)", page)
    assert len(loads) == 2
    assert all(target.startswith("data:image/png;base64,") for target in loads)
    assert "url(" not in page
    assert "@import" not in page
    for cell in formatted(table).to_numpy().ravel():
        assert str(cell) in page
    assert sentence(table) in page
    assert "not for claims" in page
    assert "diverged" in page
    assert "aux, release, smashed" in page
    assert "2.13.0" in page
    assert "&lt;b&gt;bold" in page
    for name in ("reconstructions.png", "tradeoff.png"):
        assert imread(tmp_path / name)[..., :3].std() > 5
    assert len(pd.read_csv(tmp_path / "results.csv")) == len(rows)
    again = summary(pd.read_csv(tmp_path / "results.csv"))
    pd.testing.assert_frame_equal(formatted(again), formatted(table))


def test_report_without_images_or_results_is_still_written(tmp_path: Path) -> None:
    rows = make_rows().assign(status="failed", reason="out of memory", gain=math.nan)
    write_all(tmp_path, rows, {}, demonstration=False)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "out of memory" in page
    assert "not for claims" not in page
    assert not (tmp_path / "tradeoff.png").exists()
