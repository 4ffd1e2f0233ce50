"""Attacks that fail, listen or take over, in the bench."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from contract.example_hijacker import Hijack
from contract.example_listener import PseudoClient
from support.experiment import comparable, majority_share, tiny
from support.rogues import GIVEN, Nosy, Rogue

from sltoolkit import api
from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.run import Finished, run_bench, stored_plan
from sltoolkit.training.victim import Victim


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"rogue": Rogue, "nosy": Nosy, "pseudo_client": PseudoClient, "hijack": Hijack}
    for name, kind in kinds.items():
        monkeypatch.setitem(ATTACKS, name, kind)
    GIVEN.clear()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every training that learns."""
    calls: list[dict[str, Any]] = []
    train = api.train

    def counted(*args: Any, **kwargs: Any) -> Victim:
        if kwargs["training"].epochs:
            calls.append(kwargs)
        return train(*args, **kwargs)

    monkeypatch.setattr(api, "train", counted)
    return calls


GOOD: dict[str, Any] = {"name": "rogue", "how": "not at all"}
LISTENER: dict[str, Any] = {"name": "pseudo_client", "steps": 2, "grants": ["client_arch"]}
VANILLA = {"name": "vanilla"}


def one_victim(folder: Path, **changes: Any) -> Finished:
    spec = {"seeds": [0], "protocol": VANILLA, "defense": [{"name": "none"}], **changes}
    return run_bench(tiny(**spec), folder)


def test_an_attack_that_fails_is_a_row_with_the_reason_and_harms_no_other(
    reference: Finished, tmp_path: Path
) -> None:
    reasons = {
        "raise": "ValueError: this attack is broken (run, line ",
        "nan": "SpecError: the attack diverged: its outcome holds values that are no numbers",
        "shape": "SpecError: the attack returned shape (2, 1, 8, 8) for targets (3, 1, 8, 8)",
        "memory": "out of memory: ",
        "exit": "SystemExit: 3",
    }
    rogues = [{"name": "rogue", "how": how} for how in reasons]
    finished = run_bench(tiny(seeds=[0], attack=[*rogues, *tiny()["attack"]]), tmp_path)
    rows = finished.rows
    failed = rows[rows.status == "failed"]
    assert finished.failed == len(failed) == len(reasons) * 2
    for how, reason in reasons.items():
        found = set(failed.loc[failed.attack_params.str.contains(f'"{how}"'), "reason"])
        assert len(found) == 1
        assert found.pop().startswith(reason)
    assert failed[["value", "gain"]].isna().all(axis=None)
    assert set(failed["chance"]) == {majority_share()}
    others = rows[rows.status == "ok"][reference.rows.columns]
    assert comparable(others) == comparable(reference.rows[reference.rows.victim_seed == 0])
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["reconstruction_incomplete"].all()
    assert not table["labels_incomplete"].any()
    assert table["reconstruction_missing"].str.contains("rogue").all()


def test_a_training_that_diverges_fails_its_own_cells_only(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    finished = one_victim(
        tmp_path, attack=[GOOD, {**GOOD, "how": "also not"}, {"name": "nosy"}],
        sweep={"training.lr": [0.01, 1e30]},
        training={"optimizer": "sgd", "epochs": 2},
    )  # fmt: skip
    rows = finished.rows
    failed = rows[rows.status == "failed"]
    assert finished.failed == len(failed) == 3
    assert (
        failed["reason"]
        .str.startswith("its victim failed: ProtocolError: the training diverged in epoch ")
        .all()
    )
    assert len(rows[rows.status == "ok"].cell.unique()) == 3
    assert len(trainings) == 2  # a listener doesn't cause divergence


def test_listeners_share_one_training_and_passive_attacks_its_victim(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    finished = one_victim(tmp_path, attack=[LISTENER, {**LISTENER, "lr": 0.1}, GOOD])
    assert finished.failed == 0
    (call,) = trainings
    assert [listener.lr for listener in call["listeners"]] == [0.01, 0.1]
    alone = one_victim(tmp_path / "alone", attack=[LISTENER])
    shared = finished.rows[finished.rows.cell.isin(alone.rows.cell)][alone.rows.columns]
    assert comparable(shared) == comparable(alone.rows)
    assert set(finished.rows.loc[finished.rows.family == "reconstruction", "role"]) == {"server"}


def test_a_listener_gets_its_own_grants_and_no_others(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    asked: list[list[str]] = [["aux"], ["client_arch"], ["aux", "client_arch"]]
    nosy = [{"name": "nosy", "when": f"never {i}", "grants": g} for i, g in enumerate(asked)]
    assert one_victim(tmp_path, grants=[], attack=nosy).failed == 0
    assert [g - {"task"} for g in GIVEN] == [set(g) for g in asked]
    assert len(trainings) == 3


def test_attackers_with_other_seeds_listen_to_the_same_victim(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    finished = one_victim(tmp_path, attack=[LISTENER], attacker_seeds=[0, 1])
    assert len(trainings) == 2
    assert finished.rows["utility"].nunique() == 1
    assert len(list((tmp_path / "victims").iterdir())) == 1
    values = finished.rows.set_index(["attacker_seed", "metric"])["value"]
    assert values[0, "mse"] != values[1, "mse"]


@pytest.mark.parametrize("when", ["open", "hear"])
def test_a_listener_that_fails_harms_no_other_attack(when: str, tmp_path: Path) -> None:
    attacks = [{"name": "nosy"}, {"name": "nosy", "when": when}, GOOD]
    rows = one_victim(tmp_path, attack=attacks).rows
    states = {json: set(own.status) for json, own in rows.groupby("attack_params")}
    broken = f'{{"when": "{when}"}}'
    assert states.pop(broken) == {"failed"}
    assert len(states) == 2
    assert all(state == {"ok"} for state in states.values())
    (reason,) = rows.loc[rows.status == "failed", "reason"]
    assert reason.startswith("ValueError: it ")
    healthy = one_victim(tmp_path / "healthy", attack=[{"name": "nosy"}, GOOD]).rows
    same = rows[rows.status == "ok"][healthy.columns]
    assert comparable(same) == comparable(healthy)


def test_a_lone_listener_that_fails_leaves_the_victim_to_the_others(tmp_path: Path) -> None:
    rows = one_victim(tmp_path, attack=[{"name": "nosy", "when": "open"}, GOOD]).rows
    assert set(rows.loc[rows.attack == "rogue", "status"]) == {"ok"}
    assert set(rows.loc[rows.attack == "nosy", "status"]) == {"failed"}


def test_an_active_attack_has_a_victim_of_its_own(
    tmp_path: Path, trainings: list[dict[str, Any]]
) -> None:
    lenet = {"name": "lenet", "cut": "relu1", "padding": 2}
    learns = {"epochs": 8, "lr": 0.01}  # so that a hijacked victim is worse than an honest one
    finished = one_victim(tmp_path, model=lenet, training=learns, attack=[{"name": "hijack"}, GOOD])
    assert finished.failed == 0
    assert [call["active"] is not None for call in trainings] == [True, False]
    plan = stored_plan(tmp_path)
    hijacked, honest = (plan.cells[key].victim for key in finished.rows.cell.unique())
    assert hijacked != honest
    utility = finished.rows.groupby("attack")["utility"].first()
    alone = one_victim(tmp_path / "alone", model=lenet, training=learns, attack=[GOOD]).rows
    assert utility["rogue"] == alone["utility"].iloc[0]
    assert utility["hijack"] != utility["rogue"]
