"""Plans: the victims and cells of an experiment, and the key that each is stored under."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

from sltoolkit import models
from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.build import at, attack_from, protocol_from
from sltoolkit.bench.keys import digest_of, key_of
from sltoolkit.bench.spec import Spec, Table
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Attack, Listener, NoAttack
from sltoolkit.data.partition import PARTITIONS
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.referee.mount import mount_attack
from sltoolkit.report.against_undefended import ACCURACY_BUDGET
from sltoolkit.wire.reducers import REDUCERS


@final
@dataclass(frozen=True, kw_only=True)
class VictimPlan:
    """A victim to train: its recipe (plain JSON) and its key.

    Attributes:
        recipe: data, model, protocol, training, targets, defense, seed, salt, device, checkpoint
            and, for a hijacked training, `active`, `attacker_seed` and the `pilot` cell that
            tunes it.
        key: the hash that the victim is stored under.
        swept: its values of the swept settings that no other column of its rows states, such as
            `training.lr=0.1`.
    """

    recipe: Table
    key: str
    swept: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """An attack on a victim.

    Attributes:
        victim: the victim's key.
        attack: the attack's table.
        attacker_seed: the attacker's seed.
        grants: what it is granted beyond what its seat holds.
        isolated: whether the attack runs in a process of its own.
        listens: whether it has to be attached to the victim's training.
        pilot: key of the cell whose tuned parameters it takes over; None if it rehearses itself.
        reported: whether its rows are reported; False for a pilot's cell.
        key: the hash that its result is stored under.
    """

    victim: str
    attack: Table
    attacker_seed: int
    grants: tuple[str, ...]
    isolated: bool
    listens: bool
    pilot: str | None
    reported: bool
    key: str


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """All victims and cells of an experiment, in the order of its table."""

    name: str
    demonstration: bool
    accuracy_budget: float = ACCURACY_BUDGET
    victims: dict[str, VictimPlan] = field(default_factory=dict)
    cells: dict[str, CellPlan] = field(default_factory=dict)

    def to_json(self) -> str:
        """The plan as text, so that workers and reports use it and need not make it again."""
        return json.dumps(asdict(self), indent=1)


@final
@dataclass(frozen=True)
class _Active:
    """The attack that hijacks a training: table, seed, and the key of the cell that tuned it."""

    table: Table
    seed: int
    pilot: str | None


def plan_from_json(text: str) -> Plan:
    """The plan that `to_json` wrote."""
    table = json.loads(text)
    victims = {k: VictimPlan(**v) for k, v in table.pop("victims").items()}
    cells = {
        k: CellPlan(**{**c, "grants": tuple(c["grants"])}) for k, c in table.pop("cells").items()
    }
    return Plan(**table, victims=victims, cells=cells)


def plan_of(spec: Spec) -> Plan:
    """Expand a checked spec.

    Raises:
        ThreatModelError: before any training, if an attack can't be mounted in a protocol.
        SpecError: if an attack takes part in the training, and the victim comes from a checkpoint.
    """
    plan = Plan(
        name=spec.name, demonstration=spec.demonstration, accuracy_budget=spec.accuracy_budget
    )
    several = len(spec.protocols) > 1
    for point in spec.points():
        seated = _seated(point, several=several)
        for defense in point.defense:
            for seed in point.seeds:
                for cell in _cells(plan, point, defense, seed, seated):
                    plan.cells.setdefault(cell.key, cell)
    return plan


@final
@dataclass(frozen=True, kw_only=True)
class _Seated:
    """An attack that a point's protocol seats: its table, the attack, and what it is granted."""

    table: Table
    attack: AnyAttack
    grants: tuple[str, ...]


def _seated(point: Spec, *, several: bool) -> list[_Seated]:
    """The attacks of a point.

    Args:
        point: a point of the experiment, with one protocol.
        several: whether the experiment compares protocols. If so, attacks that this protocol can't
            seat are left out; if no attack is left, `none` measures the utility.

    Raises:
        ThreatModelError: if the experiment has one protocol and that can't seat an attack.
        SpecError: if an attack takes part in the training, and the victim comes from a checkpoint.
    """
    protocol, found = protocol_of(point), []
    for i, table in enumerate(point.attack):
        attack = attack_from(table, f"attack[{i}]")
        grants = tuple(sorted({*point.grants, *table.get("grants", [])}))
        with at(f"attack[{i}]"):
            try:
                mount_attack(attack, protocol, grants, table.get("role"))
            except ThreatModelError:
                if several:
                    continue
                raise
            if point.checkpoint is not None and not isinstance(attack, Attack):
                raise SpecError(
                    f"{table['name']} takes part in the training, and a checkpoint is trained "
                    "already: leave out the one or the other"
                )
        found.append(_Seated(table=table, attack=attack, grants=grants))
    nobody = _Seated(table={"name": "none"}, attack=NoAttack(), grants=tuple(sorted(point.grants)))
    return found or [nobody]


def protocol_of(point: Spec) -> Protocol:
    """The one protocol of a point."""
    (table,) = point.protocols
    return protocol_from(table, "protocol")


def _cells(
    plan: Plan, point: Spec, defense: Table, seed: int, seated: Sequence[_Seated]
) -> Iterator[CellPlan]:
    for one in seated:
        table, attack, grants = one.table, one.attack, one.grants
        for attacker_seed in point.attacker_seeds:
            hijacks = isinstance(attack, ActiveAttack)
            listens = hijacks or isinstance(attack, Listener)
            apart = point.isolate and not listens
            pilot = None
            if point.tune == "pilot" and attack.rehearses:
                first = point.attacker_seeds[0]
                active = _Active(table, first, None) if hijacks else None
                victim = _victim(plan, point, defense, point.pilot_seed, active)
                tuned = _cell(
                    victim, table, first, grants, isolated=apart, listens=listens, pilot=None
                )
                plan.cells.setdefault(tuned.key, tuned)
                pilot = tuned.key
            active = _Active(table, attacker_seed, pilot) if hijacks else None
            victim = _victim(plan, point, defense, seed, active)
            yield _cell(
                victim, table, attacker_seed, grants, isolated=apart, listens=listens,
                pilot=pilot, reported=True,
            )  # fmt: skip


def _victim(
    plan: Plan, point: Spec, defense: Table, seed: int, active: _Active | None
) -> VictimPlan:
    recipe: Table = {
        "data": point.data.model_dump(),
        "model": point.model,
        "protocol": point.protocols[0],
        "partition": point.partition,
        "reducer": point.reducer,
        "training": point.training,
        "targets": point.targets,
        "defense": defense,
        "seed": seed,
        "salt": point.salt,
        "device": point.device,
        "checkpoint": point.checkpoint,
        "active": None if active is None else active.table,
        "attacker_seed": None if active is None else active.seed,
        "pilot": None if active is None else active.pilot,
        "grants": point.grants if active is not None else [],
    }
    sources = [
        *_classes_in(defense, DEFENSES),
        PROTOCOLS[point.protocols[0]["name"]],
        PARTITIONS[point.partition["name"]],
        *([REDUCERS[point.reducer["name"]]] if point.reducer["name"] != "none" else []),
        models.MODELS[point.model["name"]].factory,
        Split,
        Targets,
    ]
    files = {"checkpoint": digest_of(point.checkpoint), "data": digest_of(_own_file(point))}
    victim = VictimPlan(recipe=recipe, key=key_of([recipe, files], sources), swept=_swept(point))
    return plan.victims.setdefault(victim.key, victim)


def _swept(point: Spec) -> str:
    untold = {p: v for p, v in point.sweep.items() if p.split(".")[0] not in ("model", "protocol")}
    return ", ".join(f"{p}={v[0]}" for p, v in untold.items() if p != "data.name")


def _cell(
    victim: VictimPlan, table: Table, attacker_seed: int, grants: tuple[str, ...], *,
    isolated: bool, listens: bool, pilot: str | None, reported: bool = False,
) -> CellPlan:  # fmt: skip
    what = {
        "victim": victim.key, "attack": table, "attacker_seed": attacker_seed, "grants": grants,
        "isolated": isolated, "pilot": pilot, "reported": reported,
    }  # fmt: skip
    return CellPlan(
        victim=victim.key, attack=table, attacker_seed=attacker_seed, grants=grants,
        isolated=isolated, listens=listens, pilot=pilot, reported=reported,
        key=key_of(what, [ATTACKS.get(table["name"], NoAttack)]),
    )  # fmt: skip


def _classes_in(table: Table, registry: dict[str, Any]) -> list[Any]:
    links = table.get("chain", [table])
    return [kind for link in links for kind in _flat(link, registry)]


def _flat(link: Table, registry: dict[str, Any]) -> list[Any]:
    return _classes_in(link, registry) if "chain" in link else [registry[link["name"]]]


def _own_file(point: Spec) -> str | None:
    """A user's own data file; those of registered data sets are checked when they are read."""
    return point.data.name if point.data.name.endswith(".npz") else None
