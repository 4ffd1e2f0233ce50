"""What an attacker may see: grants, the views that attacks declare, and how views are filled."""

import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.errors import ThreatModelError, nearest
from sltoolkit.wire.message import Kind

GRANTS: dict[str, str] = {
    "smashed": "smashed data of the targets, as released, (R, N, ...): R releases of N targets",
    "smashed_grad": "per-example gradients that arrived for the targets while training, (N, ...)",
    "labels": "the targets' labels, (N,)",
    "aux": "the attacker's own samples (x, y), disjoint from all private ones",
    "hints": "a few private examples whose labels the attacker knows, with what it heard of them",
    "prior": "the class frequencies of the private data, (C,)",
    "client_arch": "the client's architecture: a function from a stream to a fresh network",
    "client_weights": "a copy of the client network with its trained weights",
    "peer_weights": "a copy of the network of a colluding client, not the target's",
    "peer_samples": "the private samples (x, y) of that colluding client",
    "server_weights": "a copy of the server network with its trained weights",
    "updates": "weights, or gradients of weights, that a client sends after a batch of targets",
    "release": "queries to the deployed, defended client with inputs of the attacker's choice",
    "mechanism": "the defense's public parameters: a function from a stream to a fresh copy of it",
}
PUBLIC = "task"
"""The only field of a view that is no grant: everybody knows shapes and classes."""


@final
@dataclass(frozen=True)
class LinkSource:
    """The messages that fill a grant: their kind, and the seats that send and receive them."""

    kind: Kind
    src: str
    dst: str


@final
@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a role holds in a protocol by its position alone.

    Attributes:
        links: the grants that are filled from messages it hears, and these messages.
        knows: further grants (its own network, labels that it holds).
        hops: how many parties after the client the smashed data passed before it hears them.
    """

    links: Mapping[str, LinkSource]
    knows: frozenset[str] = frozenset()
    hops: int = 0

    @property
    def grants(self) -> frozenset[str]:
        """All grants that the role holds."""
        return frozenset(self.links) | self.knows


V = TypeVar("V")


def optional(annotation: Any) -> bool:
    """Whether the type of a view's field is `X | None` (or `Optional[X]`)."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return union and type(None) in typing.get_args(annotation)


def needs(view: type) -> tuple[frozenset[str], frozenset[str]]:
    """The grants that a view requires, and the further ones that it can use.

    Raises:
        ThreatModelError: if the view is no frozen dataclass, or a field is no grant.
    """
    params = getattr(view, "__dataclass_params__", None)
    if not is_dataclass(view) or params is None or not params.frozen:
        raise ThreatModelError(f"the view {view.__name__} must be a frozen dataclass of grants")
    hints = typing.get_type_hints(view)
    required: set[str] = set()
    usable: set[str] = set()
    for field in fields(view):
        if field.name == PUBLIC:
            continue
        if field.name not in GRANTS:
            raise ThreatModelError(
                f"{view.__name__}.{field.name} is no grant{nearest(field.name, GRANTS)} "
                f"(grants: {', '.join(GRANTS)})"
            )
        (usable if optional(hints[field.name]) else required).add(field.name)
    return frozenset(required), frozenset(usable)


def seat_for(
    view: type, roles: Collection[Role], seats: Mapping[Role, Holdings], granted: Collection[str]
) -> Role:
    """The first of `roles` that holds all grants the view requires; otherwise the first one seated.

    Args:
        view: the view of the attack.
        roles: the roles from which the attack can be mounted.
        seats: the roles that the protocol seats, and what they hold.
        granted: the grants of the experiment.

    Raises:
        ThreatModelError: if the protocol has none of these roles.
    """
    required, _ = needs(view)
    seated = [role for role in roles if role in seats]
    if not seated:
        raise ThreatModelError(
            f"the attack can be mounted by {' or '.join(roles)}, but this protocol seats only "
            f"{', '.join(seats)}"
        )
    able = [r for r in seated if required <= seats[r].grants | set(granted)]
    return (able or seated)[0]


def permitted(
    view: type, *, name: str, role: Role, held: Collection[str], granted: Collection[str]
) -> frozenset[str]:
    """The grants that fill the view: its required ones, and the available optional ones.

    Args:
        view: the view of the attack.
        name: the name of the attack, for the message.
        role: the role from which it is mounted.
        held: the grants that this role holds.
        granted: the grants of the experiment.

    Raises:
        ThreatModelError: if a required grant is missing, or one of `granted` is no grant.
    """
    unknown = set(granted) - set(GRANTS)
    if unknown:
        word = sorted(unknown)[0]
        raise ThreatModelError(
            f"{word!r} is no grant{nearest(word, GRANTS)} (grants: {', '.join(GRANTS)})"
        )
    required, usable = needs(view)
    available = set(held) | set(granted)
    missing = sorted(required - available)
    if missing:
        what = "; ".join(f"{m} ({GRANTS[m]})" for m in missing)
        raise ThreatModelError(
            f"{name} needs {what}; as {role} it holds {', '.join(sorted(held)) or 'nothing'}"
            f" and the experiment grants {', '.join(sorted(granted)) or 'nothing more'}. "
            f"If the threat model allows it, grant it: grants=(..., {missing[0]!r})"
        )
    return required | (usable & frozenset(available))


def view_of(view: type[V], filled: Collection[str], sources: Mapping[str, Callable[[], Any]]) -> V:
    """Fill a view: every grant in `filled` comes from its source, which returns a fresh copy."""
    values = {
        f.name: sources[f.name]() if f.name == PUBLIC or f.name in filled else None
        for f in fields(view)  # type: ignore[arg-type]
    }
    return view(**values)
