"""From spec tables to objects: every key is checked against what the plug-in really takes."""

import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sltoolkit import models
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener, NoAttack, Role
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.data.partition import PARTITIONS, Partition
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError, lookup, nearest
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.reducers import REDUCERS

_ROLES = {role: role for role in typing.get_args(Role)}

T = TypeVar("T")


def table_into(kind: type[T], table: Mapping[str, Any], path: str) -> T:
    """An instance of a parameter dataclass from a table.

    Raises:
        SpecError: for an unknown key (with the nearest valid one) or a value of the wrong type.
    """
    valid = [f.name for f in fields(kind) if f.init]  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in valid:
            raise SpecError(
                f"unknown key '{path}.{key}'{nearest(key, valid)} (valid: {', '.join(valid)})"
            )
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as e:
            raise SpecError(f"{path}.{key}: {e.errors()[0]['msg']} (got {value!r})") from None
    with at(path):
        return kind(**values)


@contextmanager
def at(path: str) -> Iterator[None]:
    """Say where in the spec a mistake is."""
    try:
        yield
    except (SpecError, ProtocolError) as e:
        said = str(e).removeprefix(f"{path}.")
        joint = ": " if said == str(e) else "."
        raise SpecError(f"{path}{joint}{said}") from None
    except ThreatModelError as e:
        raise ThreatModelError(f"{path}: {e}") from None


def _named(table: Any, path: str, also: tuple[str, ...] = ()) -> tuple[str, Any]:
    if not isinstance(table, Mapping):
        raise SpecError(f"{path}: expected a table with a name, got {table!r:.80}")
    if not isinstance(table.get("name"), str):
        raise SpecError(f"{path}.name is missing: say which one")
    rest = {k: v for k, v in table.items() if k != "name" and k not in also}
    return table["name"], rest


def _entry(registry: Mapping[str, Any], name: str, what: str, path: str) -> Any:
    with at(f"{path}.name"):
        return lookup(registry, name, what)


def defense_from(table: Mapping[str, Any], path: str) -> Defense:
    """A defense from `{name, ...}`, or a chain from `{chain: [{name, ...}, ...]}`."""
    if isinstance(table, Mapping) and "chain" in table:
        if len(table) > 1 or not isinstance(table["chain"], list) or not table["chain"]:
            raise SpecError(f"{path}.chain: expected a list of defenses, and no other key")
        links = enumerate(table["chain"])
        return Chain(*(defense_from(link, f"{path}.chain[{i}]") for i, link in links))
    name, rest = _named(table, path)
    kind: type[Defense] = _entry(DEFENSES, name, "defense", path)
    return table_into(kind, rest, path)


def attack_from(table: Mapping[str, Any], path: str) -> AnyAttack:
    """An attack from `{name, ...}`; `grants` and `role` belong to the experiment, not to it."""
    name, rest = _named(table, path, also=("grants", "role"))
    if name == "none" and not rest:
        return NoAttack()
    attack: AnyAttack = table_into(_entry(ATTACKS, name, "attack", path), rest, path)
    check_grants(table.get("grants", []), f"{path}.grants")
    role = table.get("role")
    if role is not None:
        with at(f"{path}.role"):
            lookup(_ROLES, role, "role")
        if isinstance(attack, Listener | ActiveAttack):
            raise SpecError(f"{path}.role: {name} takes its own seat when the training begins")
    return attack


def check_grants(grants: Any, path: str) -> None:
    """Refuse what is no list of grants.

    Raises:
        SpecError: with the nearest grant.
    """
    if not isinstance(grants, list | tuple):
        raise SpecError(f"{path}: expected a list of grants, got {grants!r:.80}")
    for i, grant in enumerate(grants):
        with at(f"{path}[{i}]"):
            lookup(GRANTS, grant, "grant")


def protocol_from(table: Mapping[str, Any], path: str) -> Protocol:
    """A protocol from `{name, ...}`."""
    name, rest = _named(table, path)
    protocol: Protocol = table_into(_entry(PROTOCOLS, name, "protocol", path), rest, path)
    return protocol


def partition_from(table: Mapping[str, Any], path: str) -> Partition:
    """A partition from `{name, ...}`."""
    name, rest = _named(table, path)
    partition: Partition = table_into(_entry(PARTITIONS, name, "partition", path), rest, path)
    return partition


def reducer_from(table: Mapping[str, Any], path: str) -> Reducer | None:
    """A reducer from `{name, ...}`; `none` is none."""
    name, rest = _named(table, path)
    if name == "none" and not rest:
        return None
    reducer: Reducer = table_into(_entry(REDUCERS, name, "reducer", path), rest, path)
    return reducer


def model_from(table: Mapping[str, Any], path: str) -> tuple[str, Any, dict[str, Any]]:
    """Name, cut and own parameters of a model from `{name, cut, ...}`."""
    name, rest = _named(table, path, also=("cut",))
    entry = _entry(models.MODELS, name, "model", path)
    for key in rest:
        if key not in entry.params:
            valid = ["name", "cut", *entry.params]
            raise SpecError(
                f"unknown key '{path}.{key}'{nearest(key, valid)} (valid: {', '.join(valid)})"
            )
    cut = table.get("cut", entry.cut)
    if not all(isinstance(place, str | int) for place in places(cut)):
        raise SpecError(f"{path}.cut: expected a block's name, or a list of them, got {cut!r}")
    return name, cut, rest


def places(cut: Any) -> list[Any]:
    """The places of a cut, which may be given as one or as a list."""
    return list(cut) if isinstance(cut, list | tuple) else [cut]
