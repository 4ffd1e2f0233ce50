"""Checks a plan against its data, so that mistakes show before any training, not in failed rows."""

import json
from collections.abc import Iterable

from sltoolkit import models
from sltoolkit.bench.build import at
from sltoolkit.bench.plan import Plan
from sltoolkit.bench.recipes import arguments, load_weights
from sltoolkit.bench.spec import Table
from sltoolkit.data.targets import image_targets
from sltoolkit.streams import Stream
from sltoolkit.training.run import seat_parties, shards_of

_APART = ("seed", "active", "attacker_seed", "pilot", "grants")
"""Keys of a recipe that don't decide whether the parts of a victim fit together."""


def check_victims(plan: Plan) -> None:
    """Read the data, build and cut the models, and seat the parties of every kind of victim.

    Raises:
        SpecError: if parts don't fit together; the message names the dotted path.
        DataError: if data are missing, damaged or too few.
    """
    for recipe in _kinds(plan):
        _check(recipe)


def _kinds(plan: Plan) -> Iterable[Table]:
    recipes = (victim.recipe for victim in plan.victims.values())
    kinds = {
        json.dumps({k: v for k, v in r.items() if k not in _APART}, sort_keys=True): r
        for r in recipes
    }
    return kinds.values()


def _check(recipe: Table) -> None:
    given = arguments(recipe)
    with at("model"), Stream(0).scope():
        whole = given["model"]()
    if recipe["checkpoint"] is not None:
        load_weights(whole, recipe["checkpoint"])
    with at("model.cut"):
        parts = models.verified_cut(whole, given["cut"], given["data"].private_train.x)
    split, protocol = given["data"], given["protocol"]
    with at("protocol"):
        held = shards_of(split, protocol, given["partition"], Stream(0))[0]
    held = split.private_train if protocol.alike else held
    image_targets(split, held, given["targets"], seed=recipe["seed"])
    with at(f"defense {recipe['defense'].get('name', 'chain')!r}"):
        seat_parties(
            parts, split, protocol=protocol, defense=given["defense"],
            training=given["training"], rng=Stream(0), partition=given["partition"],
        )  # fmt: skip
