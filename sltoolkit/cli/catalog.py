"""What `list` and `describe` print: facts about the registered plug-ins, as plain records."""

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.options import Kind, Record
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.contracts.grants import GRANTS, needs
from sltoolkit.data.registry import DATASETS
from sltoolkit.data.registry import describe as describe_data
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import lookup
from sltoolkit.metrics import METRICS
from sltoolkit.models import MODELS
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.rows.names import describe_parameters

_REGISTRIES: Mapping[Kind, Mapping[str, Any]] = {
    "attacks": ATTACKS,
    "defenses": DEFENSES,
    "protocols": PROTOCOLS,
    "models": MODELS,
    "data": DATASETS,
    "metrics": METRICS,
}


def entries(kind: Kind) -> list[Record]:
    """One short record per plug-in of a kind."""
    return [_short(kind, name) for name in _REGISTRIES[kind]]


def describe(name: str) -> Record:
    """The full record of an attack, defense, protocol, model, data set or metric.

    Raises:
        SpecError: if none has that name.
    """
    kinds = {plugin: kind for kind, registry in _REGISTRIES.items() for plugin in registry}
    kind = lookup(kinds, name, "attack, defense, protocol, model, data set or metric")
    record: Record = {"kind": kind, **_short(kind, name)}
    plugin = _REGISTRIES[kind][name]
    if kind in ("attacks", "defenses", "protocols"):
        record["description"] = _doc(plugin, name, paragraphs=2)
        record["parameters"] = describe_parameters(plugin)
    if kind == "models":
        record["parameters"] = describe_parameters(plugin.factory)
    if kind == "attacks":
        used = {*record["needs"], *record["can_use"]}
        record["grants"] = {grant: meaning for grant, meaning in GRANTS.items() if grant in used}
    return record


def _short(kind: Kind, name: str) -> Record:
    plugin = _REGISTRIES[kind][name]
    if kind == "data":
        return describe_data(name)
    if kind == "metrics":
        return {
            "name": name,
            "description": _doc(plugin.function, name),
            "unit": plugin.unit,
            "higher_is_more_leak": plugin.higher_is_more_leak,
            "range": [plugin.lower_bound, plugin.upper_bound],
        }
    if kind == "models":
        return {
            "name": name,
            "description": plugin.description,
            "default_cut": plugin.cut,
            "citation": plugin.citation,
        }
    record: Record = {"name": name, "description": _doc(plugin, name)}
    if kind == "attacks":
        record |= _attack(plugin)
    if kind == "defenses":
        record["strength"] = plugin.strength
    if kind == "protocols":
        record["parts"] = plugin().parts
    return record | {"citation": plugin.citation}


def _attack(plugin: Any) -> Record:
    required, usable = needs(plugin.view)
    setup = getattr(plugin, "setup", None)
    if setup is not None:
        before = needs(setup)
        required, usable = required | before[0], usable | before[1]
    when = "takes over a seat" if issubclass(plugin, ActiveAttack) else "after the training"
    if issubclass(plugin, Listener):
        when = "listens to the training"
    return {
        "family": plugin.family,
        "when": when,
        "roles": list(plugin.roles),
        "needs": sorted(required),
        "can_use": sorted(usable - required),
    }


def docstring(plugin: Any, name: str) -> str:
    """The docstring of a plug-in's module if that is named after it, else of its class."""
    own_file = plugin.__module__.rpartition(".")[2] == name
    return inspect.getdoc(sys.modules[plugin.__module__] if own_file else plugin) or ""


def _doc(plugin: Any, name: str, paragraphs: int = 1) -> str:
    """The first paragraphs of a plug-in's docstring, a line each."""
    text = docstring(plugin, name)
    kept = [p for p in text.split("\n\n") if not p.startswith(("Args:", "Attributes:"))]
    return "\n\n".join(" ".join(p.split()) for p in kept[:paragraphs])
