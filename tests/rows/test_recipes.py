"""A recipe describes a victim in the form that rows use."""

import json
from typing import Any

import pytest

from sltoolkit.contracts.chain import Chain
from sltoolkit.data.partition import Dealt, DirichletLabels
from sltoolkit.defenses import GaussianNoise, NoPeek
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import SplitFedV1
from sltoolkit.rows.recipes import recipe_of
from sltoolkit.training.recipe import Recipe
from sltoolkit.wire.reducers import TopK


def recipe(**changes: Any) -> Recipe:
    parts: dict[str, Any] = {
        "model": "lenet", "dataset": "digits", "split": "abc", "cut": "conv1",
        "protocol": SplitFedV1(clients=3), "defense": GaussianNoise(std=0.25), "seed": 7,
        "training": Training(epochs=2), "epochs": 2, "partition": Dealt(), "reducer": None,
        "salt": "",
    }  # fmt: skip
    return recipe_of(**{**parts, **changes})


def test_plugins_are_named_with_their_parameters_apart() -> None:
    made = recipe()

    assert (made.protocol, made.defense) == ("splitfed_v1", "gaussian_noise")
    assert json.loads(made.protocol_params)["clients"] == 3
    assert json.loads(made.defense_params) == {"std": 0.25}
    assert recipe(defense=Chain(GaussianNoise(), NoPeek())).defense == "gaussian_noise+nopeek"


@pytest.mark.parametrize(
    ("cut", "text"),
    [("conv1", "conv1"), (3, "3"), (["conv1", "fc2"], "conv1+fc2"), ((1, 4), "1+4")],
)
def test_several_cuts_are_joined(cut: Any, text: str) -> None:
    assert recipe(cut=cut).cut == text


def test_what_is_usual_is_not_said() -> None:
    assert (recipe().partition, recipe().reducer) == ("", "")
    assert recipe(partition=DirichletLabels(alpha=0.5)).partition.startswith("dirichlet(alpha=0.5")
    assert recipe(reducer=TopK(fraction=0.1)).reducer.startswith("top_k(fraction=0.1")


def test_one_that_was_trained_elsewhere_has_no_training() -> None:
    assert recipe(training=None).training is None
