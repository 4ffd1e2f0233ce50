"""Builds objects from spec tables; every key is checked against what the plug-in really takes."""

import typing
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, is_dataclass, replace
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
from sltoolkit.parameters.checking import check_arguments
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.reducers import REDUCERS

_ROLES = {role: role for role in typing.get_args(Role)}

T = TypeVar("T")


def table_into(kind: type[T], table: Mapping[str, Any], path: str) -> T:
    """An instance of a parameter dataclass from a table.

    A parameter that is itself such a dataclass takes a table, too, for example
    `inversion = { steps = 300 }`; keys that this table leaves out keep their defaults.

    Raises:
        SpecError: if a key is unknown (the message names the nearest valid one), or a value has the
            wrong type or is out of its range.
    """
    values = _values(kind, table, path)
    with at(path, kind.__name__, values):
        return kind(**values)


def _values(kind: type[Any], table: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = {f.name: f for f in fields(kind) if f.init}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        _check_key(key, list(given), path)
        inner = _dataclass_in(hints[key])
        if inner is not None and isinstance(value, Mapping):
            values[key] = _nested(inner, _default_of(given[key]), value, f"{path}.{key}")
            continue
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as e:
            raise SpecError(f"{path}.{key}: {e.errors()[0]['msg']} (got {value!r})") from None
    return values


def _nested(kind: type[Any], default: Any, table: Mapping[str, Any], path: str) -> Any:
    if not isinstance(default, kind):
        return table_into(kind, table, path)
    values = _values(kind, table, path)
    with at(path, kind.__name__, values):
        return replace(default, **values)


def _dataclass_in(hint: Any) -> type[Any] | None:
    """The dataclass that a parameter holds, if it holds one."""
    options = typing.get_args(hint) or (hint,)
    return next((o for o in options if isinstance(o, type) and is_dataclass(o)), None)


def _default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _check_key(key: str, valid: list[str], path: str) -> None:
    if key not in valid:
        raise SpecError(
            f"unknown key '{path}.{key}'{nearest(key, valid)} (valid: {', '.join(valid)})"
        )


@contextmanager
def at(path: str, owner: str = "", keys: Collection[str] = ()) -> Iterator[None]:
    """Add to an error where in the spec the mistake is.

    Args:
        path: the path of the table.
        owner: the class whose parameters the table sets; if a message begins with its name and then
            names one of `keys`, the path replaces the class name.
        keys: the keys of the table.
    """
    try:
        yield
    except (SpecError, ProtocolError) as e:
        said = str(e).removeprefix(f"{path}.")
        own = said.removeprefix(f"{owner}: ")
        if own.partition(" ")[0] in keys:
            said = own
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
    """An attack from `{name, ...}`; `grants` and `role` are the experiment's, not parameters."""
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
    """Check that a value is a list of grants.

    Raises:
        SpecError: if it isn't; for an unknown grant, the message names the nearest one.
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
    """A reducer from `{name, ...}`; None for the name `none`."""
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
        _check_key(key, ["name", "cut", *entry.params], path)
    with at(path, name, rest):
        check_arguments(entry.factory, rest, name)
    cut = table.get("cut", entry.cut)
    if not all(isinstance(place, str | int) for place in places(cut)):
        raise SpecError(f"{path}.cut: expected a block's name, or a list of them, got {cut!r}")
    return name, cut, rest


def places(cut: Any) -> list[Any]:
    """The places of a cut as a list, whether the cut is one place or a list of them."""
    return list(cut) if isinstance(cut, list | tuple) else [cut]
