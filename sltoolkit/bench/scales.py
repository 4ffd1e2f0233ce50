"""Compares the settings of two scales of a reproduction."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

IGNORED = frozenset({"name"})
"""Keys that say nothing about what is run."""


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The settings that differ, as `data.train = 800 (50000)` with the other value in brackets.

    Args:
        here: an experiment, as `load_spec` takes it.
        there: the experiment it is compared with.
    """
    ours, theirs = dict(_settings(here)), dict(_settings(there))
    return [
        f"{key} = {_text(ours, key)} ({_text(theirs, key)})"
        for key in {**ours, **theirs}
        if ours.get(key) != theirs.get(key)
    ]


def _settings(experiment: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; a table in a list stands under its `name`."""
    for key, value in experiment.items():
        if key in IGNORED and not prefix:
            continue
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}{key}.")
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            yield from _settings(_by_name(value), f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _by_name(tables: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Tables by their names; from the second table of a name on, a number is added."""
    named: dict[str, Mapping[str, Any]] = {}
    for table in tables:
        name = str(table["name"])
        number = 1 + sum(other.split("#")[0] == name for other in named)
        named[name if number == 1 else f"{name}#{number}"] = table
    return named


def _text(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "default"
