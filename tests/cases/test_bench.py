"""Experiments on users' own data that end without a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.experiment import tiny
from support.situations import open_fault, refusal_of

import sltoolkit as sl
from sltoolkit.bench.run import run_bench

TINY: dict[str, Any] = {
    "seeds": [0], "model": {"name": "lenet", "cut": "relu2"}, "defense": [{"name": "none"}],
    "attack": [{"name": "retrieval", "distance": "euclidean"}], "targets": {"count": 3},
}  # fmt: skip


@open_fault("four channels are trained on and attacked, and then can't be drawn")
def test_images_of_four_channels_end_in_a_table(tmp_path: Path) -> None:
    rng, y = np.random.default_rng(0), np.arange(300) % 3
    x = (rng.random((300, 4, 16, 16)) * 200 + 20 * y[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "rgba.npz", x=x, y=y)
    data = {"name": str(tmp_path / "rgba.npz"), "train": 120, "holdout": 40, "aux": 60}

    refused = refusal_of(lambda: run_bench(tiny(**TINY, data=data), tmp_path / "run"))

    assert not refused
    assert (tmp_path / "run" / "results.csv").exists()


@open_fault("'header too large' in place of how to write a safetensors file")
def test_a_checkpoint_of_torch_save_is_told_which_format_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"name": "lenet", "cut": "relu2", "padding": 2}
    network = sl.models.build("lenet", shape=(1, 8, 8), classes=10, padding=2)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    monkeypatch.chdir(tmp_path)
    spec = {k: v for k, v in tiny(**{**TINY, "model": model}).items() if k != "training"}

    said = refusal_of(lambda: run_bench(spec | {"checkpoint": "m.pth"}, tmp_path / "run"))

    assert "safetensors" in said
