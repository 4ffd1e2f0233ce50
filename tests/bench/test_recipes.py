"""Victims from recipes: whatever the way they are made, they are called what was planned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.experiment import tiny

from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.recipes import make_victim, stored_victim, typed_recipe
from sltoolkit.bench.spec import Table, load_spec
from sltoolkit.models import build
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


@pytest.mark.parametrize("kind", ["trained", "trained elsewhere", "trained apart"])
def test_a_victim_is_what_was_planned_and_the_same_from_the_disk(kind: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"trained": {}, "trained apart": PRIVATE}.get(kind, {})
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
    assert (back.recipe, back.utility, back.costs) == (made.recipe, made.utility, made.costs)
    before, after = victim_tensors(made), victim_tensors(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
