"""Reproductions: from a spec with scales to published and measured values side by side."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sltoolkit.bench.reproduction import load_reproduction
from sltoolkit.bench.scales import differences
from sltoolkit.bench.spec import load_spec
from sltoolkit.cli.app import app
from sltoolkit.errors import SpecError
from sltoolkit.metrics import t_interval

TOY = """
seeds = [0, 1]
grants = ["aux", "release", "client_weights"]
[reproduction]
id = "T1"
title = "A toy"
paper = "Nobody 2020, table 1"
[data]
name = "digits"
train = 100
holdout = 40
aux = 60
[model]
name = "lenet"
padding = 2
cut = "conv1"
[training]
epochs = 1
[targets]
count = 6
[[attack]]
name = "regression"
[scale.small]
changes = "everything"
[[scale.small.expect]]
what = "first convolution"
where = { cut = "conv1", attack = "regression" }
metric = "mse"
value = 0.0
tolerance = 0.5
source = "paper"
[[scale.small.expect]]
what = "accuracy"
metric = "utility"
value = 5.0
tolerance = 0.1
source = "reference"
[scale.paper]
changes = ""
takes = "years"
seeds = [3]
data = { train = 200 }
[[scale.paper.expect]]
what = "first convolution"
metric = "mse"
value = 0.0
tolerance = 0.5
source = "paper"
"""


def written(folder: Path, text: str = TOY) -> Path:
    path = folder / "toy.toml"
    path.write_text(text)
    return path


def test_a_scale_replaces_settings_and_merges_tables(tmp_path: Path) -> None:
    small, paper = (load_reproduction(written(tmp_path), s) for s in ("small", "paper"))
    spec = load_spec(paper.experiment)
    assert (spec.seeds, spec.data.train, spec.data.holdout) == ([3], 200, 40)
    assert load_spec(small.experiment).data.train == 100
    assert (small.changes, paper.id) == ("everything", "T1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "T1"\n', "", "needs exactly id, title and paper"),
        ('source = "reference"\n', "", r"scale\.small\.expect\.1\.source: Field required"),
        ("[scale.paper]", "[scale.papper]", "did you mean 'papper'"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, TOY.replace(old, new).replace("scale.paper.expect", "scale.x.expect"))
    scale = "paper" if "papper" in new else "small"
    with pytest.raises(SpecError, match=message):
        load_reproduction(path, scale)  # type: ignore[arg-type]


def test_a_run_prints_and_records_what_it_found(tmp_path: Path) -> None:
    path, out = written(tmp_path), tmp_path / "out"
    done = CliRunner().invoke(app, ["bench", str(path), "--out", str(out), "--record"])
    assert done.exit_code == 0, done.output
    assert "T1: A toy (Nobody 2020, table 1)" in done.output
    assert "scale small: everything" in done.output
    kept = json.loads((tmp_path / "results" / "toy-small.json").read_text())
    values = [
        (row["value"], row["baseline"], row["commit"])
        for cell in (out / "cells").iterdir() for row in json.loads(cell.read_text())["rows"]
        if row["metric"] == "mse"
    ]  # fmt: skip
    ours, priors, commits = zip(*values, strict=True)
    assert kept["findings"][0]["ours"]["value"] == pytest.approx(t_interval(ours).value)
    assert kept["findings"][0]["prior"] == pytest.approx(sum(priors) / 2)
    assert kept["findings"][1]["prior"] == pytest.approx(0.1)  # ten digits
    assert {kept["commit"]} == set(commits)
    assert [f["within"] for f in kept["findings"]] == [True, False]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "**paper**: not run; it takes years" in page
    here, there = (load_reproduction(path, scale).experiment for scale in ("small", "paper"))
    assert differences(here, there)
    assert f"Settings (the paper scale's): `{'; '.join(differences(here, there))}`" in page
    assert re.search(r"\*\*small\*\*, \d{4}-\d\d-\d\d, .*CPU core", page)
    found = [line.split(" | ") for line in page.splitlines() if " ± " in line]
    assert [line[:4] for line in found] == [
        ["| first convolution", "mse", "0 ± 0.5", "paper"],
        ["| accuracy", "utility", "5 ± 0.1", "reference"],
    ]
    assert [line[5] for line in found] == ["yes", "**no**"]
    assert found[1][6] == "0.1 |"


def test_only_reproductions_are_recorded(tmp_path: Path) -> None:
    text = TOY[: TOY.index("[scale.small]")].replace("[reproduction]", "[x]")
    done = CliRunner().invoke(app, ["bench", str(written(tmp_path, text)), "--record"])
    assert done.exit_code == 2
    assert "reproduces nothing" in done.output


def test_an_expectation_may_ask_for_a_parameter_of_the_attack(tmp_path: Path) -> None:
    text = TOY.replace('name = "regression"', 'name = "regression"\ndraws = 2', 1)
    for draws, fits in ((2, True), (3, False)):
        wanted = f'attack = "regression", "attack.draws" = {draws}'
        path = written(tmp_path, text.replace('attack = "regression"', wanted))
        out = tmp_path / "out"
        done = CliRunner().invoke(app, ["bench", str(path), "--out", str(out)])
        assert (done.exit_code == 0) == fits, done.output


def test_an_expectation_about_no_row_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, TOY.replace('cut = "conv1", attack', 'cut = "conv2", attack'))
    done = CliRunner().invoke(app, ["bench", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "nothing was measured where" in done.output
