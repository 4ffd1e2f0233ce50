"""Makes victims, and the objects they consist of, from recipes in plain JSON."""

import functools
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sltoolkit import api, data, models
from sltoolkit.bench.build import (
    defense_from,
    model_from,
    partition_from,
    protocol_from,
    reducer_from,
    table_into,
)
from sltoolkit.bench.spec import Table
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.rows.recipes import recipe_of
from sltoolkit.training.checkpoint import read_victim, restore_victim
from sltoolkit.training.recipe import Recipe
from sltoolkit.training.victim import Victim


def split_of(recipe: Table) -> Split:
    """The data of a recipe; the last two data sets stay in memory.

    Raises:
        DataError: if files are missing or damaged, or there are too few samples.
    """
    return _split(json.dumps(recipe["data"], sort_keys=True))


@lru_cache(maxsize=2)
def _split(text: str) -> Split:
    table = json.loads(text)
    return data.load(table.pop("name"), **table)


def forget_data() -> None:
    """Drop the data sets that are kept in memory."""
    _split.cache_clear()


def arguments(recipe: Table) -> dict[str, Any]:
    """The arguments of `api.train`, apart from attacks.

    Raises:
        SpecError: if a table of the recipe is wrong.
        DataError: if files are missing or damaged, or there are too few samples.
    """
    split = split_of(recipe)
    name, cut, params = model_from(recipe["model"], "model")
    shape, classes = split.shape, len(split.classes)
    return {
        "model": functools.partial(models.build, name, shape=shape, classes=classes, **params),
        "data": split,
        "cut": cut,
        "protocol": protocol_from(recipe["protocol"], "protocol"),
        "partition": partition_from(recipe["partition"], "partition"),
        "reducer": reducer_from(recipe["reducer"], "reducer"),
        "defense": defense_from(recipe["defense"], "defense"),
        "seed": recipe["seed"],
        "salt": recipe["salt"],
        "training": _training(recipe),
        "targets": table_into(Targets, recipe["targets"], "targets"),
        "device": recipe["device"],
    }


def _training(recipe: Table) -> Training:
    name, _, _ = model_from(recipe["model"], "model")
    table = {"channels_last": models.MODELS[name].channels_last, **recipe["training"]}
    return table_into(Training, table, "training")


def typed_recipe(recipe: Table) -> Recipe:
    """The recipe as rows state it; no data is read, so `split` is empty."""
    name, cut, params = model_from(recipe["model"], "model")
    given = ",".join(f"{k}={v}" for k, v in params.items())
    training = None if recipe["checkpoint"] is not None else _training(recipe)
    return recipe_of(
        model=f"{name}({given})" if given else name,
        dataset=recipe["data"]["name"],
        split="",
        cut=cut,
        protocol=protocol_from(recipe["protocol"], "protocol"),
        defense=defense_from(recipe["defense"], "defense"),
        seed=recipe["seed"],
        training=training,
        epochs=1 if training is None else training.epochs,
        partition=partition_from(recipe["partition"], "partition"),
        reducer=reducer_from(recipe["reducer"], "reducer"),
        salt=recipe["salt"],
    )


def make_victim(recipe: Table, **attacks: Any) -> Victim:
    """Make the victim of a recipe: train it, or give it the weights of the recipe's checkpoint.

    Args:
        recipe: the recipe in plain JSON.
        attacks: listeners, hijacker, their seed and grants, as `api.train` takes them; they are
            used only if the victim is trained here.
    """
    if recipe["checkpoint"] is not None:
        made = _from_checkpoint(recipe)
    elif not PROTOCOLS[recipe["protocol"]["name"]].learns:
        made = _trained_apart(recipe)
    else:
        made = api.train(**arguments(recipe), **attacks)
    return replace(made, recipe=replace(typed_recipe(recipe), split=made.recipe.split))


def stored_victim(recipe: Table, path: Path) -> Victim:
    """Restore the victim of a recipe from the file that `checkpoint.save_victim` wrote.

    Raises:
        StoreError: if the file is missing or damaged, or doesn't fit the recipe.
    """
    untrained = {**recipe, "training": {**recipe["training"], "epochs": 0}}
    return restore_victim(make_victim(untrained), *read_victim(path))


def load_weights(module: nn.Module, path: str) -> None:
    """Give a model the weights of a safetensors file.

    Raises:
        SpecError: if the file can't be read, or doesn't fit the model.
    """
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as e:
        reason = " ".join(str(e).split())
        raise SpecError(f"checkpoint: {path} doesn't fit the model ({reason:.300})") from None


def _from_checkpoint(recipe: Table) -> Victim:
    """The victim with the weights of the recipe's checkpoint; nothing is trained."""
    given = arguments(recipe)
    whole = given["model"]()
    load_weights(whole, recipe["checkpoint"])
    client, server, *tail = models.verified_cut(whole, given["cut"], given["data"].private_train.x)
    return api.frozen(
        client, server, given["data"], tail=tail[0] if tail else None,
        **{k: given[k] for k in ("protocol", "defense", "seed", "salt", "targets", "device")},
    )  # fmt: skip


def _trained_apart(recipe: Table) -> Victim:
    """The victim of a protocol without training; `vanilla` trains its networks beforehand.

    One client trains them, with the recipe's defense, data and seed.
    """
    given = arguments(recipe)
    protocol = given.pop("protocol")
    before = api.train(**given, protocol="vanilla")
    made = api.frozen(
        before.client.client, before.server, given["data"], protocol=protocol,
        **{k: given[k] for k in ("defense", "seed", "salt", "targets", "device")},
    )  # fmt: skip
    costs = replace(made.costs, seconds=before.costs.seconds)
    return replace(made, costs=costs, holdout_unseen=True)
