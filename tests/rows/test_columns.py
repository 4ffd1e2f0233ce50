"""Every column of results.csv is declared once, and every declared column is written."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.experiment import tiny
from support.rogues import Rogue
from support.toys import CUT, QUICK, TARGETS, network, split

import sltoolkit as sl
from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.run import run_bench
from sltoolkit.cli.pages import pages
from sltoolkit.rows.columns import (
    BLANK,
    COLUMNS,
    DEFENSE,
    NEEDED,
    SETTING,
    THREAT,
    VERSIONS,
    Row,
    heading,
)

VARIED: dict[str, Any] = {
    "seeds": [0],
    "salt": "pepper",
    "protocol": {"name": "vanilla", "labels_at": "server", "clients": 2, "handover": "none"},
    "partition": {"name": "shards", "per_client": 2},
    "reducer": {"name": "half"},
    "targets": {"count": 4, "labels": 32, "part": "both"},
    "defense": [{"name": "dp_activations"}],
    "attack": [{"name": "retrieval"}, {"name": "rogue", "how": "raise"}],
    "sweep": {"training.lr": [0.01]},
}
"""An experiment in which no column is left empty."""


@pytest.fixture(scope="module")
def header_and_rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], pd.DataFrame]:
    """The header and the rows of an experiment's `results.csv`."""
    folder: Path = tmp_path_factory.mktemp("varied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ATTACKS, "rogue", Rogue)
        assert run_bench(tiny(**VARIED), folder).failed == 1
    written = pd.read_csv(folder / "results.csv")
    return [str(column) for column in written.columns], written


def test_the_header_is_what_is_declared_in_its_order(
    header_and_rows: tuple[list[str], pd.DataFrame],
) -> None:
    header, _ = header_and_rows
    assert header == list(COLUMNS)


def test_no_column_is_declared_that_nothing_fills(
    header_and_rows: tuple[list[str], pd.DataFrame],
) -> None:
    _, rows = header_and_rows
    assert [name for name in COLUMNS if rows[name].isna().all()] == []


def test_a_failed_row_says_what_was_planned_and_leaves_out_what_was_not_measured(
    header_and_rows: tuple[list[str], pd.DataFrame],
) -> None:
    _, rows = header_and_rows
    (failed,) = rows[rows["status"] == "failed"].to_dict("records")
    (good, *_) = rows[rows["status"] == "ok"].to_dict("records")
    same = ["cut", "dataset", "model", "training", "epochs", "partition", "reducer", "chance"]
    assert {name: failed[name] for name in same} == {name: good[name] for name in same}
    unknown = ["split", "utility", "role", "metric", "value", "gain", "releases", "seconds"]
    assert all(pd.isna(failed[name]) for name in unknown)


def test_rows_of_one_attack_have_the_same_columns() -> None:
    victim = sl.train(network, split(), cut=CUT, training=QUICK, targets=TARGETS)
    assert list(sl.attack(victim, sl.Retrieval()).rows().columns) == list(COLUMNS)


def test_a_row_with_a_column_that_is_not_declared_cannot_be_built() -> None:
    known: dict[str, Any] = dict.fromkeys(NEEDED, "x")
    assert Row(**known).status == "ok"
    with pytest.raises(TypeError, match="color"):
        Row(**{**known, "color": "red"})
    with pytest.raises(TypeError, match="dataset"):
        Row(**{name: text for name, text in known.items() if name != "dataset"})


def test_every_column_has_a_meaning_and_groups_name_columns() -> None:
    assert all(column.meaning for column in COLUMNS.values())
    assert {*NEEDED, *BLANK} == set(COLUMNS)
    assert {*SETTING, *DEFENSE, *THREAT, *VERSIONS} <= set(COLUMNS)


def test_the_page_of_the_documentation_has_a_line_per_column() -> None:
    page = pages(sl)["guides/columns.md"]
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(lines) == len(COLUMNS)
    assert "| `train_seconds` | s | wall time of the victim's training" in page


def test_headings_are_written_with_spaces() -> None:
    assert heading("protocol_params") == "protocol params"
