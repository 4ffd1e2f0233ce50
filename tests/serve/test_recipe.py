"""The one run that a spec describes, and specs that describe several."""

from typing import Any

import pytest
import torch
from support.experiment import tiny

from sltoolkit.api import train
from sltoolkit.bench import recipes
from sltoolkit.bench.spec import Spec, load_spec
from sltoolkit.errors import SpecError
from sltoolkit.serve.recipe import plan_of, recipe_of, seated
from sltoolkit.training.phases import deploy, run_phases

ONE: dict[str, Any] = {"defense": [{"name": "gaussian_noise", "std": 0.5}], "seeds": [7, 8]}


def spec(**changes: Any) -> Spec:
    return load_spec(tiny(**{**ONE, **changes}))


def test_a_recipe_is_the_only_defense_with_the_first_seed() -> None:
    recipe = recipe_of(spec())

    assert recipe["seed"] == 7
    assert recipe["defense"] == ONE["defense"][0]
    assert recipe["data"]["name"] == "digits"
    assert "attack" not in recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": {"model.cut": ["fc1", "relu1"]}}, "and this sweeps model.cut"),
        ({"defense": [{"name": "none"}, {"name": "nopeek"}]}, "got 2"),
    ],
)
def test_several_runs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        recipe_of(spec(**changes))


def test_everybody_must_run_the_same_versions() -> None:
    plan = plan_of(recipe_of(spec()))

    assert plan["torch"] == torch.__version__
    assert plan == plan_of(recipe_of(spec(seeds=[7])))
    assert plan != plan_of(recipe_of(spec(seeds=[8])))


@pytest.mark.parametrize("salt", ["", "pepper"])
def test_a_seated_run_trains_the_victim_that_one_process_trains(salt: str) -> None:
    recipe = recipe_of(spec(salt=salt))
    recipe["training"]["epochs"] = 2

    run, epochs = seated(recipe, device=torch.device("cpu"))
    losses = run_phases(run, epochs)
    victim = train(**recipes.arguments(recipe))

    assert epochs == 2
    assert losses == victim.losses
    ours, theirs = deploy(run)[1].state_dict(), victim.server.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_protocol_in_which_nobody_learns_is_not_served() -> None:
    recipe = recipe_of(spec()) | {"protocol": {"name": "collaborative_inference"}}

    with pytest.raises(SpecError, match="collaborative_inference trains nothing"):
        seated(recipe, device=torch.device("cpu"))
