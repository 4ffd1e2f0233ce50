"""Sweeps: every combination once, and paths that lead nowhere."""

from typing import Any

import pytest

from sltoolkit.bench.sweep import check_paths, put, swept_elsewhere, swept_tables
from sltoolkit.errors import SpecError

SWEEP: dict[str, list[Any]] = {
    "defense.noise.std": [0.1, 1.0],
    "model.cut": ["conv1", "relu2"],
    "defense.noise.clip": [1, 2, 3],
    "defense.nopeek.weight": [5],
    "training.lr": [0.01],
}

NAMES = {"defense": ["noise", "nopeek"], "attack": ["shadow"]}


def test_an_attack_is_swept_below_its_own_parameters() -> None:
    given = {"name": "shadow", "inversion": {"lr": 0.1}}
    tables = list(swept_tables("attack", given, {"attack.shadow.inversion.steps": [1, 2]}))

    assert [t["inversion"] for t in tables] == [{"lr": 0.1, "steps": s} for s in (1, 2)]


def test_a_defense_takes_every_combination_of_its_own_parameters() -> None:
    tables = list(swept_tables("defense", {"name": "noise", "std": 9.0, "kept": True}, SWEEP))

    assert [(t["std"], t["clip"]) for t in tables] == [
        (std, clip) for std in (0.1, 1.0) for clip in (1, 2, 3)
    ]
    assert all(t["name"] == "noise" and t["kept"] for t in tables)


def test_a_defense_that_is_not_swept_stays_as_it_is() -> None:
    assert list(swept_tables("defense", {"name": "none"}, SWEEP)) == [{"name": "none"}]
    chain = {"chain": [{"name": "noise"}]}
    assert list(swept_tables("defense", chain, SWEEP)) == [chain]


def test_elsewhere_every_combination_is_taken_and_nothing_swept_is_one() -> None:
    assert list(swept_elsewhere(SWEEP)) == [
        {"model.cut": "conv1", "training.lr": 0.01},
        {"model.cut": "relu2", "training.lr": 0.01},
    ]
    assert list(swept_elsewhere({})) == [{}]


def test_putting_a_value_writes_to_no_table() -> None:
    table = {"cut": "conv1", "name": "lenet"}
    raw = {"model": table, "seeds": [0]}

    put(raw, "model.cut", "relu2")

    assert raw == {"model": {"cut": "relu2", "name": "lenet"}, "seeds": [0]}
    assert table["cut"] == "conv1"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("modle.cut", "can't sweep 'modle'; did you mean 'model'?"),
        ("attack.decoder.lr", "expected attack.NAME.PARAMETER with NAME one of shadow"),
        ("model", "expected model.KEY"),
        ("model.cut.deeper", "expected model.KEY"),
        ("defense.std", "expected defense.NAME.PARAMETER"),
        ("defense", "expected defense.NAME.PARAMETER"),
        ("defense.nose.std", "did you mean 'noise'?"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        check_paths({path: [1]}, NAMES)

    assert message in str(raised.value)


def test_valid_paths_pass() -> None:
    check_paths(SWEEP, NAMES)
