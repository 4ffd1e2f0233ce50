"""Makes experiments tiny: the same plug-ins with the same settings, on little data, for few steps.

Only sizes shrink: a whole number is replaced by the number that the plug-in's `smoke()` has in its
place, where that differs from the default. Rates, weights, losses and what else decides how a
method works stay as the experiment gives them, and what is open is still rehearsed.
"""

from dataclasses import fields, is_dataclass
from typing import Any

from sltoolkit.bench.build import attack_from, defense_from, table_into
from sltoolkit.bench.spec import Table
from sltoolkit.contracts.chain import Chain
from sltoolkit.data.targets import Targets

DATA: dict[str, dict[str, Any]] = {
    "digits": {"name": "digits", "train": 100, "holdout": 20, "aux": 60},
    "faces": {"name": "faces", "train": 60, "holdout": 20, "aux": 30},
}
"""Data that ship with dependencies, and whose values are the same on every machine."""

TRAINING = {"epochs": 2, "batch_size": 20}
COUNT, LABELS, RELEASES = 4, 20, 2
LATE = {"late_start": 1}
"""Further sizes, in batches: a listener must begin before the training ends."""


def data_like(name: str) -> dict[str, Any]:
    """The tiny data in place of a data set: 8x8 digits for themselves, else 25x25 faces."""
    return DATA.get(name, DATA["faces"])


def targets_like(given: Table) -> Table:
    """The same kind of targets, but few."""
    targets = table_into(Targets, given, "targets")
    few = {"count": COUNT * targets.batch, "labels": LABELS, "hints": min(2, targets.hints)}
    return {**given, **few, "releases": min(RELEASES, targets.releases)}


def attack_like(given: Table) -> Table:
    """The table of an attack with smaller sizes."""
    attack = attack_from(given, "attack")
    return {**given, **_sizes(attack, type(attack).smoke())}


def defense_like(given: Table) -> Table:
    """The table of a defense, or of a chain, with smaller sizes."""
    if "chain" in given:
        return {"chain": [defense_like(link) for link in given["chain"]]}
    defense = defense_from(given, "defense")
    assert not isinstance(defense, Chain)
    return {**given, **_sizes(defense, type(defense).smoke())}


def _sizes(plugin: Any, small: Any) -> dict[str, Any]:
    """The sizes of a plug-in that are to be replaced, with their new values."""
    found: dict[str, Any] = {}
    for field in fields(plugin):
        own, least = getattr(plugin, field.name), getattr(small, field.name)
        if is_dataclass(own) and not isinstance(own, type):
            inner = _settings(own) | _sizes(own, least if type(least) is type(own) else own)
            found[field.name] = inner
        elif field.name in LATE:
            found[field.name] = min(own, LATE[field.name])
        elif _is_size(least) and least != field.default and (own is None or own > least):
            found[field.name] = least
    return found


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _settings(plugin: Any) -> dict[str, Any]:
    return {f.name: getattr(plugin, f.name) for f in fields(plugin) if f.init}
