"""The page, from synthetic rows whose numbers are known."""

import math
import re
from pathlib import Path

import pandas as pd
import torch
from skimage.io import imread
from support.rows import fail, make_rows

from sltoolkit.report.formats import formatted
from sltoolkit.report.html import write_all
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import summary


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
