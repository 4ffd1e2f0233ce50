"""Open parameters: those that are None and have a grid, from which a rehearsal chooses.

A parameter may hold a plug-in of its own (an attack that inverts by another attack). Then names are
dotted: `inversion.lr`.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar

from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Declared, declared

P = TypeVar("P", bound=Any)
T = TypeVar("T")


def open_parameters(plugin: Any) -> dict[str, tuple[Any, ...]]:
    """The parameters that are open, and their grids, in the order of their declaration."""
    return {
        name: p.parameter.grid
        for name, p, value in _all(plugin)
        if p.parameter is not None and p.parameter.grid and value is None
    }


def combinations(plugin: P) -> list[P]:
    """The plug-in with every combination of its open parameters; the first of each grid first."""
    grids = open_parameters(plugin)
    picked = itertools.product(*grids.values())
    return [settled(plugin, dict(zip(grids, values, strict=True))) for values in picked]


def chosen(given: Any, tuned: Any) -> dict[str, Any]:
    """What a rehearsal chose: the values of parameters that were None and no longer are."""
    found = {name: value for name, _, value in _all(tuned)}
    return {
        name: found[name]
        for name, _, value in _all(given)
        if value is None and found[name] is not None
    }


def settled(plugin: P, values: Mapping[str, Any]) -> P:
    """The plug-in with these values for the parameters that they name; itself without any."""
    own: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if "." in name:
            holder, _, rest = name.partition(".")
            inner.setdefault(holder, {})[rest] = value
    for holder, rests in inner.items():
        own[holder] = settled(getattr(plugin, holder), rests)
    new: P = replace(plugin, **own) if own else plugin
    return new


def given(*values: T | None) -> tuple[T, ...]:
    """Parameters' values, none of which may be open any more.

    Raises:
        SpecError: if one is None.
    """
    known = tuple(value for value in values if value is not None)
    if len(known) < len(values):
        raise SpecError("a parameter is open (None), and nothing was rehearsed: give it a value")
    return known


def _all(plugin: Any) -> Iterator[tuple[str, Declared, Any]]:
    for parameter in declared(plugin.__class__):
        value = getattr(plugin, parameter.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from ((f"{parameter.name}.{n}", p, v) for n, p, v in _all(value))
        else:
            yield parameter.name, parameter, value
