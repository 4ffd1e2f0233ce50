"""A recipe survives its record, settings of the training included."""

import json
from dataclasses import replace

import pytest

from sltoolkit.parties.settings import Training
from sltoolkit.training.recipe import Recipe

RECIPE = Recipe(
    protocol="vanilla",
    protocol_params='{"clients": 2}',
    model="mlp(hidden=[24])",
    cut="relu1",
    dataset="digits",
    split="a/b/c",
    defense="nopeek+gaussian_noise",
    defense_params="[{}, {}]",
    seed=3,
    training=Training(epochs=2, lr=0.1, optimizer="sgd", momentum=0.9),
    epochs=2,
    partition="shards(per_client=2)",
)


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, training=None)], ids=["here", "not"])
def test_a_recipe_is_read_back_as_it_was_written(recipe: Recipe) -> None:
    assert Recipe.from_record(json.loads(json.dumps(recipe.record()))) == recipe


def test_a_record_of_an_older_version_is_refused() -> None:
    record = RECIPE.record()
    del record["cut"]
    with pytest.raises(TypeError, match="cut"):
        Recipe.from_record(record)
