"""Specs: an error names the dotted path of the mistake and the nearest valid key."""

from pathlib import Path
from typing import Any

import pytest
from support.experiment import tiny, toml

from sltoolkit.bench.spec import load_spec
from sltoolkit.errors import SpecError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "top level": ({"trainng": {}}, "unknown key 'trainng'; did you mean 'training'"),
    "data key": (
        {"data": {"name": "digits", "trian": 5}}, "unknown key 'data.trian'; did you mean 'train'"
    ),
    "data name": ({"data": {"name": "digts"}}, "data.name: .*did you mean 'digits'"),
    "data type": ({"data": {"name": "digits", "train": "many"}}, r"data\.train: .*'many'"),
    "model name": ({"model": {"name": "lenett"}}, "model.name: .*did you mean 'lenet'"),
    "model missing": ({"model": {"cut": "relu1"}}, "model.name is missing"),
    "model parameter": (
        {"model": {"name": "mlp", "hiden": [3]}}, "'model.hiden'; did you mean 'hidden'"
    ),
    "cut type": ({"model": {"name": "mlp", "cut": 1.5}}, r"model\.cut: expected .*1\.5"),
    "one cut too many": (
        {"model": {"name": "mlp", "cut": ["relu1", "relu2"]}},
        "model.cut: vanilla needs 1 cut, got 2",
    ),
    "one cut too few": (
        {"protocol": {"name": "u_shaped"}}, "model.cut: u_shaped needs 2 cuts, got 1"
    ),
    "protocol name": ({"protocol": {"name": "ushaped"}}, "protocol.name: .*mean 'u_shaped'"),
    "protocol value": (
        {"protocol": {"name": "vanilla", "labels_at": "home"}}, r"protocol\.labels_at: .*'home'"
    ),
    "training key": ({"training": {"epoch": 1}}, "'training.epoch'; did you mean 'epochs'"),
    "optimizer": (
        {"training": {"optimizer": "adamm"}}, "no training.optimizer .*did you mean 'adam'"
    ),
    "training value": (
        {"training": {"batch_size": 0}},
        r"^training\.batch_size must be a whole number of at least 1, got 0",
    ),
    "targets value": (
        {"targets": {"count": 0}},
        r"^targets\.count must be a whole number of at least 1, got 0",
    ),
    "device": ({"device": "cdua:1"}, "device: no device .*did you mean 'cuda'"),
    "defense name": (
        {"defense": [{"name": "none"}, {"name": "gauss_noise"}]},
        r"defense\[1\]\.name: .*did you mean 'gaussian_noise'",
    ),
    "defense key": (
        {"defense": [{"name": "gaussian_noise", "sdt": 1.0}]},
        r"'defense\[0\]\.sdt'; did you mean 'std'",
    ),
    "defense type": (
        {"defense": [{"name": "gaussian_noise", "std": "big"}]}, r"defense\[0\]\.std: .*'big'"
    ),
    "defense value": ({"defense": [{"name": "gaussian_noise", "std": -1}]},
        r"defense\[0\]\.std must be a number of at least 0, got -1",
    ),
    "chain link": (
        {"defense": [{"chain": [{"name": "none"}, {"name": "nopek"}]}]},
        r"defense\[0\]\.chain\[1\]\.name: .*did you mean 'nopeek'",
    ),
    "chain of words": ({"defense": [{"chain": ["none"]}]}, r"defense\[0\]\.chain\[0\]: expected"),
    "chain and name": (
        {"defense": [{"chain": [{"name": "none"}], "name": "x"}]}, r"defense\[0\]\.chain: expected"
    ),
    "attack name": (
        {"attack": [{"name": "whitbox"}]}, r"attack\[0\]\.name: .*did you mean 'whitebox'"
    ),
    "attack key": (
        {"attack": [{"name": "norm"}, {"name": "whitebox", "step": 3}]},
        r"'attack\[1\]\.step'; did you mean 'steps'",
    ),
    "attack type": (
        {"attack": [{"name": "whitebox", "steps": "long"}]}, r"attack\[0\]\.steps: .*'long'"
    ),
    "attack's grant": (
        {"attack": [{"name": "norm", "grants": ["aux", "hint"]}]},
        r"attack\[0\]\.grants\[1\]: .*did you mean 'hints'",
    ),
    "attack's grants": (
        {"attack": [{"name": "norm", "grants": "aux"}]}, r"attack\[0\]\.grants: expected a list"
    ),
    "attack's role": (
        {"attack": [{"name": "norm", "role": "sever"}]},
        r"attack\[0\]\.role: .*did you mean 'server'",
    ),
    "grant": ({"grants": ["client_weight"]}, r"grants\[0\]: .*did you mean 'client_weights'"),
    "accuracy budget": (
        {"accuracy_budget": 3}, r"^accuracy_budget must be a number from 0 to 1 .*, got 3"
    ),
    "accuracy budget in words": ({"accuracy_budget": "3 %"}, "accuracy_budget: .*'3 %'"),
    "no attack": ({"attack": []}, "attack: .*at least 1"),
    "no seed": ({"seeds": []}, "seeds: .*at least 1"),
    "a seed twice": ({"seeds": [3, 3]}, "seeds holds the same seed twice"),
    "pilot reported": ({"seeds": [7], "pilot_seed": 7}, "pilot_seed 7 is also a reported seed"),
    "tune": ({"tune": "never"}, "tune: .*'never'"),
    "sweep section": ({"sweep": {"trainig.lr": [1]}}, "trainig.*did you mean 'training'"),
    "sweep of an attack's unknown key": (
        {"sweep": {"attack.whitebox.step": [1]}}, r"sweep.*\.step'; did you mean 'steps'"
    ),
    "sweep of an attack that isn't there": (
        {"sweep": {"attack.whitebx.steps": [1]}}, "did you mean 'whitebox'"
    ),
    "sweep of an attack's value": (
        {"sweep": {"attack.whitebox.steps": ["long"]}}, r"attack\[0\]\.steps: .*'long'"
    ),
    "sweep of an attack without a key": ({"sweep": {"attack.norm": [1]}}, r"attack\.NAME\.PARAM"),
    "model type": (
        {"model": {"name": "lenet", "padding": "wide"}},
        r"model\.padding must be a whole number of at least 0, got 'wide'",
    ),
    "model value": (
        {"model": {"name": "lenet", "padding": -1}}, r"model\.padding must be .* got -1"
    ),
    "sweep of a defense that isn't there": (
        {"sweep": {"defense.gaussian_nois.std": [1]}}, "did you mean 'gaussian_noise'"
    ),
    "sweep of a defense without a key": ({"sweep": {"defense.none": [1]}}, r"defense\.NAME\.PARAM"),
    "sweep too deep": ({"sweep": {"training.lr.x": [1]}}, r"expected training\.KEY"),
    "sweep key": (
        {"sweep": {"training.epoch": [1]}}, r"sweep.*'training\.epoch'; did you mean 'epochs'"
    ),
    "sweep defense key": (
        {"sweep": {"defense.gaussian_noise.sdt": [1]}}, r"sweep.*\.sdt'; did you mean 'std'"
    ),
    "sweep without values": ({"sweep": {"training.lr": []}}, "at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_by_its_path_and_the_nearest_valid_key(case: str) -> None:
    changes, said = WRONG[case]
    with pytest.raises(SpecError, match=said):
        load_spec(tiny(**changes))


def test_the_tiny_experiment_itself_is_valid() -> None:
    spec = load_spec(tiny())
    assert spec.seeds == [0, 1]
    assert len(spec.points()) == 1


def test_a_file_means_the_same_as_the_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(toml(tiny()))
    assert load_spec(path) == load_spec(tiny())


def test_a_checkpoint_is_looked_for_beside_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(toml(tiny(checkpoint="weights.safetensors")))
    assert load_spec(path).checkpoint == str(tmp_path / "weights.safetensors")


def test_a_sweep_gives_every_combination() -> None:
    sweep = {
        "training.lr": [0.1, 0.01], "data.train": [100, 110, 120],
        "defense.gaussian_noise.std": [0.1, 0.2, 0.3, 0.4],
    }  # fmt: skip
    points = load_spec(tiny(sweep=sweep)).points()
    assert {(p.training["lr"], p.data.train) for p in points} == {
        (lr, n) for lr in (0.1, 0.01) for n in (100, 110, 120)
    }
    assert len(points) == 6
    for point in points:
        assert point.sweep == {"training.lr": [point.training["lr"]],
                               "data.train": [point.data.train]}  # fmt: skip
        assert [d.get("std") for d in point.defense] == [None, 0.1, 0.2, 0.3, 0.4]


def test_attacks_are_swept_by_name() -> None:
    sweep = {"attack.whitebox.steps": [2, 5], "attack.whitebox.tv_weight": [0.1]}
    (point,) = load_spec(tiny(sweep=sweep)).points()
    assert [(a["name"], a.get("steps"), a.get("tv_weight")) for a in point.attack] == [
        ("whitebox", 2, 0.1), ("whitebox", 5, 0.1), ("norm", None, None)
    ]  # fmt: skip
    assert point.sweep == {}


def test_a_swept_cut_can_be_a_list() -> None:
    spec = tiny(
        protocol={"name": "u_shaped"}, model={"name": "mlp", "cut": ["relu1", "relu2"]},
        sweep={"model.cut": [["relu1", "relu2"], ["fc1", "relu2"]]},
    )  # fmt: skip
    cuts = [p.model["cut"] for p in load_spec(spec).points()]
    assert cuts == [["relu1", "relu2"], ["fc1", "relu2"]]
