"""The figures of an experiment: which files are written, and over what a grid ranks its targets."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.io import imread
from support.charts import row
from typer.testing import CliRunner

from sltoolkit.bench.figures import _grids, write_figures
from sltoolkit.bench.run import run_bench
from sltoolkit.cli.app import app
from sltoolkit.errors import StoreError

SPEC: dict[str, Any] = {
    "name": "figures", "seeds": [0, 1],
    "data": {"name": "digits", "train": 100, "holdout": 40, "aux": 60},
    "model": {"name": "lenet", "padding": 2, "cut": "conv1"},
    "training": {"epochs": 1}, "targets": {"count": 6},
    "grants": ["aux", "release", "client_weights"],
    "attack": [
        {
            "name": "whitebox", "steps": 4, "tv_weight": 0.0, "lr": 0.1, "forward": "client",
            "start": "mean",
        },
        {"name": "regression", "reach": 0, "weight": 0.1},
    ],
    "sweep": {"model.cut": ["conv1", "relu2"]},
}  # fmt: skip


def test_a_grid_ranks_over_every_defense_and_every_target() -> None:
    class Kept:
        """Three images of five targets; the value of the i-th original is i / 10."""

        def images(self, cell: str) -> dict[str, torch.Tensor]:
            truth = (torch.arange(3.0) / 10).view(3, 1, 1, 1).expand(3, 1, 4, 4)
            scores = {"open": [0.2, 0.3, 0.1, 0.5, 0.4], "noisy": [0.1, 0.5, 0.4, 0.3, 0.2]}
            return {"truth": truth, "images": truth, "score/ssim": torch.tensor(scores[cell])}

    rows = pd.DataFrame([row(cell="open"), row(cell="noisy", defense="gaussian_noise")])
    ((_, figure),) = _grids(rows, cast(Any, Kept()))
    shown = [float(np.asarray(a.images[0].get_array()).mean()) for a in figure.axes[:3]]
    assert shown == pytest.approx([0.1, 0.2, 0.0])  # by the first defense alone: 1, 0, 2


def test_an_experiment_is_drawn_as_pdf_and_png(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run_bench(SPEC, folder)
    done = CliRunner().invoke(app, ["report", str(folder), "--figures"])
    assert done.exit_code == 0, done.output
    files = sorted((folder / "figures").iterdir())
    stems = {path.stem for path in files}
    assert {name.partition("-")[0] for name in stems} == {"grid", "by_cut", "by_step"}
    assert all(str(path) in done.output for path in files)
    assert len(files) == 2 * len(stems)
    for path in files:
        if path.suffix == ".png":
            assert imread(path).std() > 5
        else:
            assert path.read_bytes().startswith(b"%PDF")
            assert b"/Type3" not in path.read_bytes()
    cell = json.loads(next((folder / "cells").iterdir()).read_text())
    assert {"curve", "progress"} <= set(cell)


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no experiment"):
        write_figures(tmp_path)
