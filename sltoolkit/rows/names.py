"""Names and parameters of plug-ins as they appear in rows, keys and tables."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from sltoolkit.contracts.chain import Chain
from sltoolkit.errors import lookup
from sltoolkit.parameters.parameter import declared, required

P = TypeVar("P")


def named(plugin: P | str, registry: Mapping[str, type[P]], what: str) -> P:
    """The plug-in itself or, for a name, the registered one with its default parameters.

    Raises:
        SpecError: if no `what` has this name.
    """
    return lookup(registry, plugin, what)() if isinstance(plugin, str) else plugin


def name_of(plugin: Any, registry: Mapping[str, type]) -> str:
    """A plug-in's registry key, or its class name in snake_case if it isn't registered."""
    if isinstance(plugin, Chain):
        return "+".join(name_of(link, registry) for link in plugin.links)
    for key, kind in registry.items():
        if type(plugin) is kind:
            return key
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(plugin).__name__).lower()


def _parameters_of(plugin: Any) -> dict[str, Any]:
    """The hyper-parameters of a plug-in: its dataclass fields."""
    return {f.name: getattr(plugin, f.name) for f in fields(plugin) if f.init}


def described(plugin: Any, registry: Mapping[str, type]) -> str:
    """Name and parameters, as `dirichlet(alpha=0.5)`; lists at their defaults are left out."""
    usual = {f.name: f.default for f in fields(plugin)}
    own = {
        k: v for k, v in _parameters_of(plugin).items() if not isinstance(v, tuple) or v != usual[k]
    }
    given = ", ".join(f"{k}={v}" for k, v in own.items())
    return f"{name_of(plugin, registry)}({given})" if given else name_of(plugin, registry)


def parameters_json(plugin: Any) -> str:
    """A plug-in's hyper-parameters as canonical JSON; for a chain a list, link by link."""
    return json.dumps(_plain(plugin), sort_keys=True)


def _plain(plugin: Any) -> Any:
    if isinstance(plugin, Chain):
        return [_plain(link) for link in plugin.links]
    if is_dataclass(plugin) and not isinstance(plugin, type):
        return {k: _plain(v) for k, v in _parameters_of(plugin).items()}
    if isinstance(plugin, tuple | list):
        return [_plain(v) for v in plugin]
    if plugin is None or isinstance(plugin, bool | int | float | str):
        return plugin
    return repr(plugin)


def describe_parameters(kind: Any) -> dict[str, dict[str, Any]]:
    """Describe the parameters of a plug-in class or of a model's factory.

    Returns:
        name -> `expected` (type and range in words), `default`, `meaning` and `grid` (the values
        that a rehearsal compares). If a parameter holds a plug-in, the parameters of that plug-in
        are described, under dotted names.
    """
    found = {}
    for parameter in declared(kind):
        if is_dataclass(parameter.default):
            inner = describe_parameters(type(parameter.default))
            own = _parameters_of(parameter.default)
            for name, record in inner.items():
                found[f"{parameter.name}.{name}"] = record | {"default": own.get(name)}
            continue
        notes = parameter.parameter
        found[parameter.name] = {
            "expected": parameter.expected,
            "default": None if required(parameter) else parameter.default,
            "meaning": notes.meaning if notes else "",
            "grid": list(notes.grid) if notes else [],
        }
    return found
