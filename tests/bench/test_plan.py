"""Plans: which victims and cells there are, their keys, and refusals."""

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract.example_listener import PseudoClient
from safetensors.torch import save_file
from support.experiment import tiny

from sltoolkit.attacks import ATTACKS
from sltoolkit.bench import keys as keying
from sltoolkit.bench.plan import Plan, plan_from_json, plan_of
from sltoolkit.bench.recipes import typed_recipe
from sltoolkit.bench.run import load_plan
from sltoolkit.bench.spec import load_spec
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import DataError, SpecError, ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.training.secret import salt_digest


def planned(**changes: Any) -> Plan:
    return plan_of(load_spec(tiny(**changes)))


def keys(plan: Plan) -> set[str]:
    return {*plan.victims, *plan.cells}


def test_every_defense_is_attacked_by_every_attack_on_every_victim() -> None:
    plan = planned(attacker_seeds=[0, 1])
    assert len(plan.victims) == 2 * 2
    assert len(plan.cells) == 2 * 2 * 2 * 2
    found = [(plan.victims[c.victim].recipe["defense"]["name"], c.attack["name"])
             for c in plan.cells.values()]  # fmt: skip
    assert all(found.count(pair) == 4 for pair in set(found))


def test_another_salt_is_another_run_and_none_is_told_in_rows() -> None:
    plain, salted, other = planned(), planned(salt="pepper"), planned(salt="paprika")
    assert not keys(plain) & keys(salted)
    assert not keys(other) & keys(salted)
    assert keys(salted) == keys(planned(salt="pepper"))
    recipes = [typed_recipe(victim.recipe) for victim in salted.victims.values()]
    assert {recipe.salt for recipe in recipes} == {salt_digest("pepper")}
    assert "pepper" not in str(recipes)


def test_isolation_is_part_of_the_cells_of_attacks_after_the_fact_alone() -> None:
    attacks = [{"name": "norm"}, {"name": "sdar"}]
    usual, apart = (planned(attack=attacks, isolate=own) for own in (False, True))
    assert usual.victims.keys() == apart.victims.keys()
    assert {(c.attack["name"], c.isolated) for c in apart.cells.values()} == {
        ("norm", True), ("sdar", False)
    }  # fmt: skip
    shared = {usual.cells[key].attack["name"] for key in usual.cells.keys() & apart.cells.keys()}
    assert shared == {"sdar"}


def test_a_sweep_multiplies_victims_and_shares_what_is_equal() -> None:
    plan = planned(sweep={"defense.gaussian_noise.std": [0.1, 0.2, 0.3]})
    assert len(plan.victims) == 2 * (1 + 3)
    plan = planned(sweep={"training.lr": [0.1, 0.01]})
    assert len(plan.victims) == 2 * 2 * 2


def test_a_sweep_that_changes_nothing_changes_no_key() -> None:
    plain = planned()
    swept = planned(sweep={"training.lr": [0.01, 0.02], "model.cut": ["relu1"]})
    assert keys(plain) < keys(swept)
    shown = {v.swept for v in swept.victims.values()}
    assert shown == {"training.lr=0.01", "training.lr=0.02"}  # the cut has its own column


def test_the_same_spec_gives_the_same_keys() -> None:
    one, two = planned(), planned()
    assert one == two
    keying._source.cache_clear()
    assert planned() == one


def test_a_plan_survives_being_written_down() -> None:
    attack = [{"name": "whitebox", "grants": ["client_weights"]}]
    plan = planned(tune="pilot", attack=attack, accuracy_budget=0.1)
    assert plan_from_json(plan.to_json()) == plan
    assert plan.cells == planned(tune="pilot", attack=attack).cells  # no result depends on it


CHANGED: dict[str, dict[str, Any]] = {
    "data": {"data": {"name": "digits", "train": 121, "holdout": 60, "aux": 60}},
    "split seed": {"data": {"name": "digits", "train": 120, "holdout": 60, "aux": 60, "seed": 1}},
    "model": {"model": {"name": "mlp", "cut": "relu1", "hidden": [25, 16]}},
    "cut": {"model": {"name": "mlp", "cut": "fc1", "hidden": [24, 16]}},
    "protocol": {"protocol": {"name": "vanilla", "labels_at": "server", "clients": 2}},
    "training": {"training": {"epochs": 2, "lr": 0.01}},
    "targets": {"targets": {"count": 4, "labels": 32}},
    "seeds": {"seeds": [2, 3]},
}


@pytest.mark.parametrize("what", CHANGED)
def test_keys_change_with_the_recipe(what: str) -> None:
    assert not keys(planned()) & keys(planned(**CHANGED[what]))


def test_a_changed_defense_or_attack_changes_only_its_own_keys() -> None:
    plain, stronger = planned(), planned(defense=[{"name": "none"}, {"name": "nopeek"}])
    assert len(plain.victims.keys() & stronger.victims.keys()) == 2
    attack = [{"name": "whitebox", "steps": 3, "tv_weight": 0.01, "forward": "client"}]
    other = planned(attack=[*attack, {"name": "norm"}])
    assert plain.victims == other.victims
    assert len(plain.cells.keys() & other.cells.keys()) == 4
    granted = planned(grants=["client_weights", "hints", "release"])
    assert plain.victims == granted.victims
    assert not plain.cells.keys() & granted.cells.keys()


def source_changes(monkeypatch: pytest.MonkeyPatch, kind: type) -> Plan:
    """The plan as it would be if the file of `kind` had one more line of code."""
    real, edited = keying._code_of_file, Path(inspect.getfile(kind))
    monkeypatch.setattr(
        keying, "_code_of_file", lambda file: real(file) + "edited" * file.samefile(edited)
    )
    keying._source.cache_clear()
    plan = planned()
    monkeypatch.undo()
    keying._source.cache_clear()
    return plan


def test_keys_change_with_the_sources_of_the_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = planned()
    attack = source_changes(monkeypatch, ATTACKS["norm"])
    assert attack.victims == plain.victims
    changed = [plain.cells[k].attack["name"] for k in plain.cells if k not in attack.cells]
    assert changed == ["norm"] * 4
    defense = source_changes(monkeypatch, DEFENSES["gaussian_noise"])
    assert len(plain.victims.keys() & defense.victims.keys()) == 2
    assert planned() == plain


def test_keys_change_with_a_file_that_a_plugin_takes_something_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sltoolkit.attacks.labels._gradients import GradientView

    plain, edited = planned(), source_changes(monkeypatch, GradientView)
    changed = [plain.cells[k].attack["name"] for k in plain.cells if k not in edited.cells]
    assert changed == ["norm"] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("__version__", "0.0.0"), ("version", lambda package: "9.9"), ("THREADS", 2)],
)
def test_keys_change_with_versions_and_threads(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = planned()
    monkeypatch.setattr(torch if name == "__version__" else keying, name, value)
    keying._environment.cache_clear()
    changed = planned()
    monkeypatch.undo()
    keying._environment.cache_clear()
    assert not keys(plain) & keys(changed)
    assert planned() == plain


def npz(path: Path, value: int) -> str:
    pixels = np.random.default_rng(value).integers(0, 256, (90, 1, 8, 8), dtype=np.uint8)
    np.savez(path, x=pixels, y=np.arange(90) % 3)
    return str(path)


def test_keys_change_with_the_contents_of_a_users_files(tmp_path: Path) -> None:
    data, weights = tmp_path / "mine.npz", tmp_path / "w.safetensors"
    save_file({"w": torch.zeros(1)}, weights)
    changes: dict[str, Any] = {"data": {"name": npz(data, 0)}, "checkpoint": str(weights)}
    plain = planned(**changes)
    npz(data, 1)
    other = planned(**changes)
    save_file({"w": torch.ones(1)}, weights)
    assert len(keys(plain) | keys(other) | keys(planned(**changes))) == 3 * len(keys(plain))


def test_a_pilot_tunes_once_per_defense_and_is_not_reported() -> None:
    plan = planned(tune="pilot", attack=[{"name": "whitebox"}, {"name": "norm"}])
    pilots = [c for c in plan.cells.values() if not c.reported]
    assert len(pilots) == 2  # the norm attack has nothing to rehearse
    assert {plan.victims[c.victim].recipe["seed"] for c in pilots} == {1_000_000}
    users = [c for c in plan.cells.values() if c.pilot is not None]
    assert [c.attack["name"] for c in users] == ["whitebox"] * 4
    assert {c.pilot for c in users} == {c.key for c in pilots}


def test_a_recipe_names_a_victim_before_it_is_trained() -> None:
    plan = planned(model={"name": "mlp", "cut": 1, "hidden": [24]})
    recipe = typed_recipe(next(iter(plan.victims.values())).recipe)
    assert recipe.model == "mlp(hidden=[24])"
    assert recipe.cut == "1"
    assert recipe.defense == "none"
    assert recipe.training == Training(epochs=1, lr=0.01)
    assert recipe.epochs == 1
    assert not any(isinstance(v, float) and math.isnan(v) for v in vars(recipe).values())


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "cut name": (
        {"model": {"name": "mlp", "cut": "relu11"}}, SpecError, "^model.cut: .*mean 'relu1'"
    ),
    "cut at the end": ({"model": {"name": "mlp", "cut": "fc"}}, SpecError, "^model.cut: "),
    "images too small": ({"model": {"name": "lenet"}}, SpecError, "^model: .*padding=2"),
    "parameter value": (
        {"model": {"name": "mlp", "cut": "relu1", "hidden": [0]}}, SpecError, r"^model\.hidden must"
    ),
    "too many clients": (
        {"protocol": {"name": "vanilla", "labels_at": "server", "clients": 1000}},
        SpecError, "^protocol: 1000 clients",
    ),
    "too many targets": ({"targets": {"count": 61}}, DataError, "lower targets.count"),
    "too few samples": ({"data": {"name": "digits", "train": 10_000}}, DataError, "digits"),
    "missing files": ({"data": {"name": "mnist", "root": "nowhere"}}, DataError, "nowhere"),
    "missing npz": ({"data": {"name": "nowhere.npz"}}, SpecError, "nowhere.npz can't be read"),
    "missing checkpoint": ({"checkpoint": "nowhere"}, SpecError, "nowhere can't be read"),
    "missing grant": (
        {"grants": [], "attack": [{"name": "decoder"}]},
        ThreatModelError, r"^attack\[0\]: Decoder needs aux",
    ),
    "role not seated": (
        {"attack": [{"name": "norm"}, {"name": "norm", "role": "colluding"}]},
        ThreatModelError, r"^attack\[1\]: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_any_training(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    changes, kind, said = REFUSED[case]
    with pytest.raises(kind, match=said):
        load_plan(tiny(**changes))


def test_a_checkpoint_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"fc1.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(SpecError, match=r"^checkpoint: .*w\.safetensors doesn't fit the model"):
        load_plan(tiny(checkpoint=str(path)))
    path.write_bytes(b"no weights at all")
    with pytest.raises(SpecError, match=r"^checkpoint: .* doesn't fit"):
        load_plan(tiny(checkpoint=str(path)))


def test_listeners_take_their_own_seat_and_need_a_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(ATTACKS, "pseudo_client", PseudoClient)
    listener: dict[str, Any] = {"name": "pseudo_client", "grants": ["client_arch"]}
    with pytest.raises(SpecError, match=r"attack\[0\]\.role: pseudo_client takes its own seat"):
        planned(attack=[{**listener, "role": "server"}])
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(SpecError, match=r"attack\[0\]: pseudo_client takes part in the training"):
        planned(attack=[listener], checkpoint=str(path))
