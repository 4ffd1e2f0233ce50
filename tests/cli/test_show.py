"""What the commands print: every value of a record, and a hint at more."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.experiment import tiny
from support.rows import make_rows

from sltoolkit.bench.run import Finished, Tick
from sltoolkit.cli.show import (
    cut_records,
    progress_bar,
    show_entries,
    show_finished,
    show_plan,
    show_record,
    show_table,
)
from sltoolkit.data.registry import data_root


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_a_table_has_a_column_per_key_and_a_line_per_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table("title", [{"one_key": 1, "list": [2, 3]}, {"one_key": "[red]x", "list": {"k": 4}}])

    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    title, heads, _, first, second = lines
    assert title.strip() == "title"
    assert heads.split() == ["one", "key", "list"]
    assert first.split() == ["1", "2,", "3"]
    assert second.split() == ["[red]x", "k", "4"]  # rich must not interpret users' names as markup


def test_a_record_shows_all_that_is_said_and_nothing_empty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_record({
        "name": "noise", "description": "adds noise", "citation": "", "needs": [],
        "roles": ["server", "client"], "parameters": {
            "std": {"expected": "a number", "default": 0.5, "meaning": "its width", "grid": [1, 2]}
        },
    })  # fmt: skip

    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        "noise",
        "adds noise",
        "roles: server, client",
        "parameters",
        "  std: its width",
        "    a number; default 0.5; rehearsed among 1, 2",
    ]


def test_a_list_of_data_says_where_files_are_looked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = {"name": "mine", "default_sizes": {"train": 3}, "description": "made up", "more": 1}

    show_entries("data", [entry])

    said = capsys.readouterr().out
    assert "train 3" in said
    assert "more" not in said.splitlines()[1]
    assert f"Files are looked for in {data_root()}" in said
    assert "sltoolkit describe NAME" in said


def test_a_plan_counts_what_is_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tiny(attack=[{"name": "norm"}])

    show_plan(spec, tmp_path / "nothing there yet")

    said = capsys.readouterr().out.splitlines()
    assert said == [
        "tiny: the experiment is valid", "victims to train: 4 of 4", "attacks to run: 4 of 4"
    ]  # fmt: skip
    assert not (tmp_path / "nothing there yet").exists()


def test_the_end_shows_accuracy_beside_what_a_constant_guess_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(with_labels=False).assign(chance=0.31, balanced_chance=0.1)
    rows = rows.assign(balanced_accuracy=rows["utility"] - 0.1)
    finished = Finished(
        folder=tmp_path, rows=rows, failed=0, demonstration=False, accuracy_budget=0.1
    )
    assert show_finished(finished) == 0
    said = capsys.readouterr().out
    assert "photos, lenet, cut conv1, vanilla, majority share 0.31" in said
    assert "accuracy (balanced)" in said
    assert "(0.72)" in said
    assert "unusable: 12 points of accuracy lost" in said
    assert "(balanced: 0.69 instead of 0.72)" in said

    finished = replace(finished, rows=pd.concat([rows, rows.assign(dataset="other", chance=0.2)]))
    show_finished(finished)
    assert "majority share  " in capsys.readouterr().out  # several: a column of its own


def test_cuts_are_facts_in_the_order_of_the_network() -> None:
    records = cut_records("lenet", "faces")

    assert [r["cut"] for r in records][:3] == ["conv1", "relu1", "pool1"]
    assert records[0]["smashed"] == "8x21x21"
    assert records[0]["numbers"] == 8 * 21 * 21
    assert records[0]["parameters"] == 8 * 25 + 8
    shares = [float(r["parameter share"].rstrip("%")) for r in records]
    assert shares == sorted(shares)


@pytest.mark.parametrize(("seconds", "said"), [(30.0, "30 s left"), (600.0, "10 min left")])
def test_progress_says_what_is_left(
    seconds: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar() as report:
        report(Tick(done=1, total=4, what="training", seconds_left=seconds))

    shown = capsys.readouterr().err
    assert "training" in shown
    assert "1/4" in shown
    assert said in shown
