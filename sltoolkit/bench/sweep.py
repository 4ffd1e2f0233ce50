"""What a spec sweeps: values by dotted path, as `"defense.gaussian_noise.std" = [0.1, 2.0]`."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sltoolkit.errors import SpecError, nearest

Sweep = Mapping[str, list[Any]]

_SECTIONS = (
    "data", "model", "protocol", "partition", "reducer", "training", "targets", "defense",
)  # fmt: skip


def swept_defenses(table: Mapping[str, Any], sweep: Sweep) -> Iterator[dict[str, Any]]:
    """A defense's table with every combination of what is swept of this defense."""
    name = str(table.get("name", ""))
    mine = {p: v for p, v in sweep.items() if p.split(".")[:2] == ["defense", name]}
    keys = [p.split(".")[2] for p in mine]
    for combination in itertools.product(*mine.values()):
        yield {**table, **dict(zip(keys, combination, strict=True))}


def swept_elsewhere(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Every combination of what is swept outside the defenses: path -> value."""
    elsewhere = {p: v for p, v in sweep.items() if p.split(".")[0] != "defense"}
    for values in itertools.product(*elsewhere.values()):
        yield dict(zip(elsewhere, values, strict=True))


def put(raw: dict[str, Any], path: str, value: Any) -> None:
    """Give the key at a path, SECTION.KEY, another value; no table is written to."""
    section, key = path.split(".")
    raw[section] = {**raw[section], key: value}


def check_paths(sweep: Sweep, defenses: Collection[str]) -> None:
    """Refuse a path that leads nowhere.

    Args:
        sweep: paths and their values.
        defenses: the names of the spec's defenses.

    Raises:
        SpecError: with the nearest valid one.
    """
    for path in sweep:
        head, *rest = path.split(".")
        if head not in _SECTIONS:
            raise SpecError(
                f"sweep.{path!r}: can't sweep {head!r}{nearest(head, _SECTIONS)} "
                f"(sections: {', '.join(_SECTIONS)})"
            )
        if head == "defense" and (len(rest) != 2 or rest[0] not in defenses):
            hint = nearest(rest[0], defenses) if rest else ""
            raise SpecError(
                f"sweep.{path!r}: expected defense.NAME.PARAMETER with NAME one of "
                f"{', '.join(sorted(defenses))}{hint}"
            )
        if head != "defense" and len(rest) != 1:
            raise SpecError(f"sweep.{path!r}: expected {head}.KEY")
