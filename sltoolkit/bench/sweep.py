"""Sweeps: lists of values by dotted path, such as `"defense.gaussian_noise.std" = [0.1, 2.0]`.

The path of a defense's or an attack's parameter contains the plug-in's name. If a parameter has
parameters itself, the path is longer: `"attack.shadow.inversion.steps" = [100, 300]`.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from sltoolkit.errors import SpecError, nearest

Sweep = Mapping[str, list[Any]]

_SECTIONS = (
    "data", "model", "protocol", "partition", "reducer", "training", "targets", "defense", "attack",
)  # fmt: skip
_NAMED = ("defense", "attack")
"""Sections that hold several tables, each with a name."""


def swept_tables(
    section: Literal["defense", "attack"], table: Mapping[str, Any], sweep: Sweep
) -> Iterator[dict[str, Any]]:
    """The table of a defense or an attack with every combination of its swept values."""
    name = str(table.get("name", ""))
    mine = {p: v for p, v in sweep.items() if p.split(".")[:2] == [section, name]}
    for combination in itertools.product(*mine.values()):
        swept = dict(table)
        for path, value in zip(mine, combination, strict=True):
            swept = _with(swept, path.split(".")[2:], value)
        yield swept


def swept_elsewhere(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Every combination of values that are swept outside defenses and attacks: path -> value."""
    elsewhere = {p: v for p, v in sweep.items() if p.split(".")[0] not in _NAMED}
    for values in itertools.product(*elsewhere.values()):
        yield dict(zip(elsewhere, values, strict=True))


def put(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path SECTION.KEY in a copy of the section, which replaces it in `raw`."""
    section, key = path.split(".")
    raw[section] = {**raw[section], key: value}


def _with(table: Any, keys: list[str], value: Any) -> dict[str, Any]:
    """A copy of a table with another value at a path within it."""
    first, *rest = keys
    outer = table if isinstance(table, Mapping) else {}
    return {**outer, first: _with(outer.get(first), rest, value) if rest else value}


def check_paths(sweep: Sweep, names: Mapping[str, Collection[str]]) -> None:
    """Check that every path leads to a setting.

    Args:
        sweep: paths and their values.
        names: section -> the names of the spec's defenses or attacks.

    Raises:
        SpecError: if a path doesn't; the message names the nearest valid name.
    """
    for path in sweep:
        head, *rest = path.split(".")
        if head not in _SECTIONS:
            raise SpecError(
                f"sweep.{path!r}: can't sweep {head!r}{nearest(head, _SECTIONS)} "
                f"(sections: {', '.join(_SECTIONS)})"
            )
        if head in _NAMED and (len(rest) < 2 or rest[0] not in names[head]):
            hint = nearest(rest[0], names[head]) if rest else ""
            raise SpecError(
                f"sweep.{path!r}: expected {head}.NAME.PARAMETER with NAME one of "
                f"{', '.join(sorted(names[head]))}{hint}"
            )
        if head not in _NAMED and len(rest) != 1:
            raise SpecError(f"sweep.{path!r}: expected {head}.KEY")
