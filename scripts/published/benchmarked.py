"""The experiments that scripts in `benchmarks/` measure, written as specs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import he_mnist
import tuned

from sltoolkit.attacks import ATTACKS, Decoder, WhiteBox
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener
from sltoolkit.rows.names import name_of, parameters_json


def _table(attack: AnyAttack) -> dict[str, Any]:
    """The table of an attack, with the parameters that aren't at their defaults."""
    given = {k: v for k, v in _parameters(attack).items() if v != _parameters(type(attack)())[k]}
    return {"name": name_of(attack, ATTACKS), **given}


def _parameters(plugin: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parameters_json(plugin))
    return found


def _of_tuned() -> list[Mapping[str, Any]]:
    """Every attack with its paper's settings and with open ones, at every place."""
    return [
        _at(place, [_table(published), _table(tuned.TUNED[name])])
        for name, places in tuned.PUBLISHED.items()
        for place, published in places.items()
        if place in tuned.CUTS or place in tuned.PROTOCOLS
    ]


def _at(place: str, attacks: list[dict[str, Any]]) -> dict[str, Any]:
    kind = ATTACKS[attacks[0]["name"]]
    small = place in tuned.PROTOCOLS or issubclass(kind, Listener | ActiveAttack)
    where: dict[str, Any] = {"data": {"name": "digits" if small else "mnist"}}
    where["model"] = {"name": "lenet", **({"padding": 2} if small else {}), "cut": tuned.CUTS[0]}
    if place in tuned.PROTOCOLS:
        where["protocol"] = {"name": place}
    else:
        where["model"]["cut"] = place
    return {"seeds": [0], "grants": sorted(tuned.GRANTS), "attack": attacks, **where}


def _of_he_mnist() -> list[Mapping[str, Any]]:
    """The white box and the decoder on He et al.'s victim."""
    return [
        {
            "seeds": [0],
            "grants": ["aux", "client_weights", "prior", "release"],
            "data": {"name": "mnist"},
            "model": {"name": "lenet", "cut": "relu2"},
            "training": _parameters(he_mnist.TRAINING),
            "attack": [_table(WhiteBox()), _table(Decoder())],
        }
    ]


BENCHMARKS: dict[str, Callable[[], list[Mapping[str, Any]]]] = {
    "he_mnist": _of_he_mnist,
    "tuned": _of_tuned,
}
"""Script -> function that gives its experiments."""
