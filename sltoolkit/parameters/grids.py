"""Open parameters: those that are None and have a grid, from which a rehearsal chooses.

The value of a parameter may itself be a plug-in (an attack may use another attack). Then the names
of the inner parameters are dotted: `inversion.lr`.
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
    """The grids of all open parameters by name, in the order of their declaration."""
    return {
        name: p.parameter.grid
        for name, p, value in _all(plugin)
        if p.parameter is not None and p.parameter.grid and value is None
    }


def combinations(plugin: P) -> list[P]:
    """Copies of the plug-in, one for each combination of its grids' values; defaults come first."""
    grids = open_parameters(plugin)
    picked = itertools.product(*grids.values())
    return [settled(plugin, dict(zip(grids, values, strict=True))) for values in picked]


def chosen(given: Any, tuned: Any) -> dict[str, Any]:
    """What a rehearsal chose: the parameters that are None in `given` but not in `tuned`."""
    found = {name: value for name, _, value in _all(tuned)}
    return {
        name: found[name]
        for name, _, value in _all(given)
        if value is None and found[name] is not None
    }


def settled(plugin: P, values: Mapping[str, Any]) -> P:
    """A copy of the plug-in with these values by name; the plug-in itself if there are none."""
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
    """The values of parameters, none of which may be open any more.

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
