"""The data sets by name: where their files are, default sizes, and facts without reading."""

from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest

from sltoolkit import data
from sltoolkit.data.registry import DATASETS, data_root, describe, facts, load, pool
from sltoolkit.errors import DataError, SpecError


@pytest.fixture
def npz_file(tmp_path: Path) -> str:
    y = np.arange(40) % 2
    x = np.random.default_rng(0).random((40, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    return str(tmp_path / "own.npz")


def test_files_are_looked_for_where_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLTOOLKIT_DATA", str(tmp_path / "set"))
    assert data_root(tmp_path) == tmp_path
    assert data_root(str(tmp_path)) == tmp_path
    assert data_root() == tmp_path / "set"

    monkeypatch.delenv("SLTOOLKIT_DATA")
    assert data_root() == Path(pooch.os_cache("sltoolkit"))


def test_the_files_of_a_data_set_are_those_of_the_given_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        pool("adult", root=tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_default_sizes_fit_into_the_data_set(name: str) -> None:
    entry = DATASETS[name]

    assert min(entry.sizes) > 0
    train, holdout, aux = entry.sizes
    assert train <= entry.samples
    if entry.embedded:
        assert train + holdout + aux <= entry.samples
    assert facts(name) == (entry.shape, entry.classes, entry.samples)


@pytest.mark.parametrize("name", DATASETS)
def test_a_description_says_where_files_are_unless_there_are_none(name: str) -> None:
    described = describe(name)

    entry = DATASETS[name]
    assert described["name"] == name
    assert described["description"] == entry.description
    assert described["citation"] == entry.citation
    assert described["default_sizes"] == dict(
        zip(("train", "holdout", "aux"), entry.sizes, strict=True)
    )
    assert (described["files"] == "none: embedded") is entry.embedded


def test_an_npz_file_is_halved_for_training_and_a_fifth_is_held_out(npz_file: str) -> None:
    made = load(npz_file)

    assert [len(p) for p in (made.private_train, made.private_holdout, made.aux)] == [20, 8, 12]
    assert facts(npz_file) == ((1, 8, 8), 2, 40)


def test_sizes_that_are_given_win_over_the_defaults(npz_file: str) -> None:
    made = load(npz_file, holdout=3)

    assert [len(p) for p in (made.private_train, made.private_holdout, made.aux)] == [20, 3, 12]


def test_the_draw_follows_its_seed_and_aux_from_itself_is_nothing_special() -> None:
    sizes: dict[str, Any] = {"train": 60, "holdout": 20, "aux": 20}

    plain, again = load("digits", **sizes), load("digits", **sizes, aux_from="digits")
    other = load("digits", **sizes, seed=1)

    assert plain.digests == again.digests
    assert plain.digests["aux"] != other.digests["aux"]


def test_an_unknown_name_gets_the_nearest() -> None:
    for ask in (load, pool, facts, describe):
        with pytest.raises(SpecError, match="did you mean 'digits'"):
            ask("digit")


def test_aux_from_is_an_argument_of_load(tmp_path: Path) -> None:
    np.savez(tmp_path / "noise.npz", x=np.random.default_rng(0).random((40, 1, 8, 8)),
             y=np.arange(40) % 10)  # fmt: skip
    foreign = data.load("digits", aux=40, aux_from=str(tmp_path / "noise.npz"))
    assert int(foreign.aux.ids.max()) < 0
    own = data.load("digits", aux=40, aux_from="digits")  # never the victim's samples
    assert own.digests == data.load("digits", aux=40).digests
