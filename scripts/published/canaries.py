"""Canaries: a tiny cell for each plug-in of a published table, made by the path of `bench`.

There is one for every protocol, defense and attack of the table's experiments, with its settings
there. A protocol or a defense is measured by the first attack after the fact that it seats, and by
its victim alone if there is none. Two tables that use a plug-in alike share its canary.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from published.lengths import full
from published.register import Experiment
from published.shrunk import TRAINING, attack_like, data_like, defense_like, targets_like
from sltoolkit.bench.build import attack_from, defense_from, protocol_from, table_into
from sltoolkit.bench.spec import Spec, Table, load_spec
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.chain import Chain
from sltoolkit.data.registry import DATASETS
from sltoolkit.data.targets import Targets
from sltoolkit.errors import ThreatModelError
from sltoolkit.parameters.grids import open_parameters
from sltoolkit.parties.settings import Training
from sltoolkit.referee.mount import mount_attack
from sltoolkit.rows.names import parameters_json

NOBODY: Table = {"name": "none"}

Kind = Literal["protocol", "defense", "attack"]


@final
@dataclass(frozen=True, kw_only=True)
class Canary:
    """A tiny cell.

    Attributes:
        name: the plug-in and what the experiment says about it.
        experiment: the tiny experiment, with one victim and one attack.
        settings: what the published cell depends on and the tiny one doesn't, by name: all
            parameters, defaults included, and the grids of open ones.
    """

    name: str
    experiment: Experiment
    settings: dict[str, Any]


def canaries(experiments: Sequence[Experiment]) -> list[Canary]:
    """The canaries of all plug-ins of some experiments, in the order of their first use."""
    found: dict[str, Canary] = {}
    for experiment in experiments:
        for canary in _of(load_spec(experiment)):
            found.setdefault(canary.name, canary)
    return list(found.values())


def _of(spec: Spec) -> Iterator[Canary]:
    for point in spec.points():
        yield _canary(point, "protocol", _seated(point), NOBODY)
        for defense in point.defense:
            if defense != NOBODY:
                yield _canary(point, "defense", _seated(point), defense)
        for attack in point.attack:
            if _seats(point, attack):
                yield _canary(point, "attack", attack, NOBODY)


def _seated(point: Spec) -> Table:
    """The first attack after the fact that a point seats; `none` if there is no such attack."""
    after = (a for a in point.attack if isinstance(attack_from(a, "attack"), Attack))
    return next((a for a in after if _seats(point, a)), NOBODY)


def _seats(point: Spec, table: Table) -> bool:
    attack = attack_from(table, "attack")
    protocol = protocol_from(point.protocols[0], "protocol")
    try:
        mount_attack(attack, protocol, _granted(point, table), table.get("role"))
    except ThreatModelError:
        return False
    return True


def _granted(point: Spec, table: Table) -> list[str]:
    return sorted({*point.grants, *table.get("grants", [])})


def _canary(point: Spec, kind: Kind, attack: Table, defense: Table) -> Canary:
    (protocol,) = point.protocols
    about: dict[Kind, Any] = {
        "protocol": {**protocol, "cut": point.model.get("cut")},
        "defense": defense,
        "attack": {k: v for k, v in attack.items() if k != "grants"},
    }
    told = dict(about[kind])
    name = told.pop("name", "chain")
    given = f" {json.dumps(told, sort_keys=True)}" if told else ""
    experiment = {
        "seeds": [0],
        "grants": point.grants,
        "data": data_like(point.data.name),
        "model": point.model,
        "protocol": protocol,
        "partition": point.partition,
        "reducer": point.reducer,
        "training": {**point.training, **TRAINING},
        "targets": targets_like(point.targets),
        "defense": [defense_like(defense)],
        "attack": [attack_like(attack)],
    }
    return Canary(
        name=f"{kind} {name}{given}", experiment=experiment,
        settings=_settings(point, attack, defense),
    )  # fmt: skip


def _settings(point: Spec, attack: Table, defense: Table) -> dict[str, Any]:
    found: dict[str, Any] = {
        **_parameters("protocol", protocol_from(point.protocols[0], "protocol")),
        **_parameters("training", table_into(Training, point.training, "training")),
        **_parameters("targets", table_into(Targets, point.targets, "targets")),
    }
    if defense != NOBODY:
        found |= _parameters("defense", defense_from(defense, "defense"))
    if attack != NOBODY:
        made = attack_from(attack, "attack")
        found |= _parameters("attack", made) | full(made, samples=_aux(point))
    return found


def _aux(point: Spec) -> int:
    """How many samples the attacker has; a file of the user's own counts as 1 if it isn't said."""
    usual = DATASETS[point.data.name].sizes[2] if point.data.name in DATASETS else 1
    return point.data.aux or usual


def _parameters(kind: str, plugin: Any) -> dict[str, Any]:
    """The parameters of a plug-in, of a chain link by link; an open one has its grid as value."""
    if isinstance(plugin, Chain):
        links = enumerate(plugin.links)
        return {k: v for i, x in links for k, v in _parameters(f"{kind}[{i}]", x).items()}
    grids = {name: {"open": list(grid)} for name, grid in open_parameters(plugin).items()}
    values = json.loads(parameters_json(plugin)) | json.loads(json.dumps(grids))
    return {f"{kind}.{name}": value for name, value in values.items()}
