"""Victims from recipes: however a victim is made, its recipe is the planned one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.experiment import tiny
from torch import nn

from sltoolkit import data as datasets
from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.recipes import (
    arguments,
    forget_data,
    load_weights,
    make_victim,
    split_of,
    stored_victim,
    typed_recipe,
)
from sltoolkit.bench.run import load_plan
from sltoolkit.bench.spec import Table, load_spec
from sltoolkit.defenses import GaussianNoise
from sltoolkit.errors import SpecError
from sltoolkit.models import build
from sltoolkit.referee.truth import asked_about
from sltoolkit.streams import Stream
from sltoolkit.training.checkpoint import save_victim, victim_tensors

PRIVATE: dict[str, Any] = {
    "protocol": {"name": "collaborative_inference"}, "attack": [{"name": "retrieval"}],
}  # fmt: skip


def recipe_of(**changes: Any) -> Table:
    """The first victim of the tiny experiment."""
    return next(iter(plan_of(load_spec(tiny(**changes))).victims.values())).recipe


def weights(folder: Path) -> str:
    """A checkpoint of the tiny experiment's model."""
    with Stream(3).scope():
        model = build("mlp", shape=(1, 8, 8), classes=10, hidden=(24, 16))
    save_file(model.state_dict(), folder / "model.safetensors")
    return str(folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["trained", "salted", "trained elsewhere", "trained apart"])
def test_a_victim_is_what_was_planned_and_the_same_from_the_disk(kind: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"salted": {"salt": "pepper"}, "trained apart": PRIVATE}.get(kind, {})
    if kind == "trained elsewhere":
        changes = {"checkpoint": weights(tmp_path)}
    recipe = recipe_of(**changes)
    planned = typed_recipe(recipe)
    made = make_victim(recipe)
    assert planned.split == ""
    assert made.recipe == replace(planned, split="/".join(made.data.digests.values()))
    assert (made.recipe.training is None) == (kind == "trained elsewhere")
    assert (made.costs.seconds > 0) == (kind != "trained elsewhere")
    path = tmp_path / "victim.safetensors"
    save_victim(made, path)
    back = stored_victim(recipe, path)
    answers = [v.release(v.rng.fresh("targets"))(v.data.aux.x) for v in (made, back)]
    assert torch.equal(*answers)
    assert (back.recipe, back.utility, back.costs) == (made.recipe, made.utility, made.costs)
    before, after = victim_tensors(made), victim_tensors(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def recipe(**changes: Any) -> dict[str, Any]:
    spec = tiny(seeds=[3], defense=[{"name": "gaussian_noise", "std": 0.25}], **changes)
    (victim,) = load_plan(spec)[1].victims.values()
    return dict(victim.recipe)


def test_every_part_is_built_as_the_recipe_says() -> None:
    given = arguments(recipe())

    assert given["seed"] == 3
    assert given["cut"] == "relu1"
    assert isinstance(given["defense"], GaussianNoise)
    assert given["defense"].std == 0.25
    assert given["training"].lr == 0.01
    assert given["targets"].count == 3
    assert given["reducer"] is None
    widths = [m.out_features for m in given["model"]() if isinstance(m, nn.Linear)]
    assert widths == [24, 16, 10]


def test_the_same_data_are_read_once_and_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_data()
    asked: list[str] = []
    load = datasets.load

    def counting(name: str, **options: Any) -> datasets.Split:
        asked.append(name)
        return load(name, **options)

    monkeypatch.setattr(datasets, "load", counting)

    first = split_of(recipe())
    assert split_of(recipe()) is first
    assert asked == ["digits"]

    forget_data()
    assert split_of(recipe()) is not first
    assert split_of(recipe()).digests == first.digests


def test_weights_come_from_a_file_and_must_fit(tmp_path: Path) -> None:
    wanted = nn.Linear(2, 3)
    save_file(wanted.state_dict(), tmp_path / "w")

    network = nn.Linear(2, 3)
    load_weights(network, str(tmp_path / "w"))

    assert torch.equal(network.weight, wanted.weight)
    for other, path in ((nn.Linear(2, 4), "w"), (nn.Linear(2, 3), "missing")):
        with pytest.raises(SpecError, match=f"checkpoint: .*{path} doesn't fit the model"):
            load_weights(other, str(tmp_path / path))


def test_a_checkpoint_is_attacked_as_it_is(tmp_path: Path) -> None:
    wanted = arguments(recipe())["model"]()
    path = str(tmp_path / "w")
    save_file(wanted.state_dict(), path)

    victim = make_victim(recipe() | {"checkpoint": path})

    found = {**victim.client.client.state_dict(), **victim.server.state_dict()}
    assert len(found) == len(wanted.state_dict())
    assert not victim.holdout_unseen  # nobody said what it was trained on
    assert all(torch.equal(found[name], t) for name, t in wanted.state_dict().items())


def test_networks_for_a_protocol_in_which_nobody_learns_are_trained_before() -> None:
    own = recipe() | {"protocol": {"name": "collaborative_inference"}}

    victim = make_victim(own)

    assert victim.recipe.protocol == "collaborative_inference"
    assert victim.recipe.epochs == 1
    assert victim.recipe.cut == "relu1"
    assert victim.holdout_unseen
    fresh = arguments(own)["model"]().state_dict()
    assert not torch.equal(victim.client.client.state_dict()["fc1.weight"], fresh["fc1.weight"])


def test_victims_of_one_seed_are_asked_about_the_same_targets_behind_all_defenses() -> None:
    plan = load_plan(tiny())[1]
    asked: dict[int, set[tuple[int, ...]]] = {}
    for planned in plan.victims.values():
        recipe = planned.recipe
        made = make_victim({**recipe, "training": {**recipe["training"], "epochs": 0}})
        records = asked_about(made, made.targets, "reconstruction").records
        asked.setdefault(recipe["seed"], set()).add(tuple(records.ids.tolist()))
    assert set(map(len, asked.values())) == {1}  # two defenses, one set of targets
    assert asked[0] != asked[1]
