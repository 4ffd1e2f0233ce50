"""A page per attack, defense, protocol and metric: its registry facts and its docstring."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.catalog import docstring, entries
from sltoolkit.cli.options import Kind, Record
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.defenses import DEFENSES
from sltoolkit.metrics import KINDS, METRICS
from sltoolkit.parameters.parameter import Declared, declared
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.flow import flow_text, seats_text
from sltoolkit.report.markdown import code, first_sentence, prose, table, without_sections
from sltoolkit.report.message_flow import flow

_SEAMS = {
    "smash": "smashed data",
    "labels": "labels",
    "gradient": "the gradient that is sent",
    "receive": "the gradient that arrives",
    "client_loss": "the client's loss",
}
"""The methods that a defense may override, and what they change."""


def attack_page(name: str) -> str:
    """An attack's page: its roles, the grants that it needs, how it works, its parameters."""
    plugin, record = ATTACKS[name], _record("attacks", name)
    used = [grant for grant in GRANTS if grant in (*record["needs"], *record["can_use"])]
    facts = {
        "family": record["family"],
        "when": record["when"],
        "mounted by": ", ".join(record["roles"]),
        "needs": code(g for g in used if g in record["needs"]),
        "can use": code(g for g in used if g in record["can_use"]),
        "source": record["citation"],
    }
    knowledge = table(
        ("grant", "required", "what it is"),
        ((f"`{g}`", "yes" if g in record["needs"] else "no", GRANTS[g]) for g in used),
    )
    known = f"## What it knows\n\n{knowledge}\n\nAll grants: [grants](../concepts/grants.md)."
    return _page(name, plugin, facts, [known, _parameters(plugin), _attack_use(name, plugin)])


def defense_page(name: str) -> str:
    """A defense's page: where it acts, its strength, how it works, its parameters."""
    plugin, record = DEFENSES[name], _record("defenses", name)
    acts = [what for seam, what in _SEAMS.items() if _overrides(plugin, seam)]
    facts = {
        "acts on": ", ".join(acts),
        "strength": code([plugin.strength] if plugin.strength else []),
        "acts through training": "yes" if plugin.learns else "no",
        "phases": ", ".join(phase.name for phase in plugin.phases),
        "formal guarantee": "yes" if _overrides(plugin, "guarantee") else "no",
        "source": record["citation"],
    }
    used = (
        f"## Use\n\nIn Python `sl.train(..., defense=sl.{plugin.__name__}())`, in an experiment a "
        f'table `[[defense]]` with `name = "{name}"`.'
    )
    if plugin.strength:
        used += f' To sweep it: `"defense.{name}.{plugin.strength}" = [...]` under `[sweep]`.'
    return _page(name, plugin, facts, [_parameters(plugin), used])


def protocol_page(name: str) -> str:
    """A protocol's page: its seats, its message flow, how it works, its parameters."""
    plugin, record = PROTOCOLS[name], _record("protocols", name)
    protocol = plugin()
    facts = {
        "parts of the network": str(protocol.parts),
        "cuts": str(protocol.parts - 1),
        "trains": "yes" if protocol.learns else "no",
        "source": record["citation"],
    }
    seats = (
        "## Seats\n\nThe grants that each [role](../concepts/threat_model.md) has by its seat: "
        "`held`, or the link on which it hears them.\n\n"
        f"```text\n{seats_text(protocol.seats)}\n```"
    )
    spoken = (
        "## Messages\n\nMeasured in one epoch of a tiny network with two or more "
        f"clients.\n\n```text\n{flow_text(flow(protocol))}\n```"
    )
    used = (
        f"## Use\n\nIn Python `sl.train(..., protocol=sl.{plugin.__name__}())`, in an experiment "
        f'`[protocol]` with `name = "{name}"`.'
    )
    return _page(name, plugin, facts, [seats, spoken, _parameters(plugin), used])


def metric_page(name: str) -> str:
    """A metric's page: what it judges, its unit and range, and its definition."""
    metric = METRICS[name]
    sides = {0: "any", 1: "images and signals"}
    facts = {
        "judges": ", ".join(kind for kind, names in KINDS.items() if name in names),
        "unit": "1 (a pure number)" if metric.unit == "1" else metric.unit,
        "leaks more": "the higher it is" if metric.higher_is_more_leak else "the lower it is",
        "range": f"{metric.lower_bound:g} to {metric.upper_bound:g}",
        "one number per target": "yes" if metric.per_target else "no",
        "inputs": sides.get(
            metric.min_side, f"images with sides of at least {metric.min_side} pixels"
        ),
    }
    return _assembled(name, facts, inspect.getdoc(metric.function) or "", [])


def index(kind: Kind, columns: Mapping[str, str]) -> str:
    """The table of all plug-ins of a kind.

    Args:
        kind: the kind of plug-in.
        columns: key of the records of `catalog.entries` -> heading of its column.
    """
    rows = []
    for record in entries(kind):
        link = f"[`{record['name']}`]({record['name']}.md)"
        rows.append([link, first_sentence(record["description"])])
        rows[-1] += [_plain(record[key]) for key in columns]
    return table(("name", "what it is", *columns.values()), rows)


def _page(name: str, plugin: Any, facts: Mapping[str, str], sections: Sequence[str]) -> str:
    return _assembled(name, facts, docstring(plugin, name), sections)


def _assembled(name: str, facts: Mapping[str, str], docstring: str, sections: Sequence[str]) -> str:
    """Name, first paragraph, facts, the rest of the docstring, and further sections."""
    summary, _, rest = docstring.partition("\n\n")
    shown = table(("fact", "value"), facts.items())
    parts = [f"# `{name}`", prose(summary), shown, prose(rest), *sections]
    return "\n\n".join(part for part in parts if part)


def _parameters(plugin: Any) -> str:
    """The section about a plug-in's class: its docstring and its parameters."""
    parts = [f"## `sl.{plugin.__name__}`"]
    parts.append(prose(without_sections(inspect.getdoc(plugin) or "")))
    usual = plugin()
    rows = [_parameter(p, getattr(usual, p.name)) for p in declared(plugin)]
    if rows:
        parts.append(table(("parameter", "must be", "default", "rehearsed", "meaning"), rows))
    return "\n\n".join(parts)


def _parameter(parameter: Declared, default: Any) -> tuple[str, ...]:
    facts = parameter.parameter
    grid = code(map(_written, facts.grid)) if facts is not None else ""
    meaning = facts.meaning if facts is not None else ""
    return f"`{parameter.name}`", parameter.expected, f"`{_written(default)}`", grid, meaning


def _written(value: Any) -> str:
    """A value as code; a plug-in with default parameters by its class name alone."""
    kind = type(value)
    if kind.__module__.startswith("sltoolkit.") and value == kind():
        return f"{kind.__name__}()"
    return repr(value)


def _attack_use(name: str, plugin: Any) -> str:
    calls = f"`sl.attack(victim, sl.{plugin.__name__}())`"
    if issubclass(plugin, Listener | ActiveAttack):
        seat = "listeners=[attack]" if issubclass(plugin, Listener) else "active=attack"
        calls = (
            f"`sl.train(..., {seat})` and then `sl.attack(victim, attack)`, with "
            f"`attack = sl.{plugin.__name__}()`"
        )
    return (
        f"## Use\n\nIn Python {calls}; in an experiment a table `[[attack]]` with "
        f'`name = "{name}"`.'
    )


def _overrides(plugin: type[Any], method: str) -> bool:
    return getattr(plugin, method) is not getattr(Defense, method)


def _record(kind: Kind, name: str) -> Record:
    return next(record for record in entries(kind) if record["name"] == name)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return code(value) if isinstance(value, list) else str(value)
