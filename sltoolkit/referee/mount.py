"""Mounting: the seat that an attack takes in a protocol, and the grants that it gets there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

import torch

from sltoolkit.contracts.attack import AnyAttack, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.grants import Holdings, LinkSource, permitted, seat_for
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.training.protocol import Protocol

STANDARD_GRANTS = frozenset({"aux", "release", "prior"})
"""The default grants of an experiment: the attacker's own data, queries, class frequencies."""


@final
@dataclass(frozen=True, kw_only=True)
class Mount:
    """The seat that an attack takes in a protocol, and what it knows there.

    Attributes:
        role: the seat.
        links: grant -> the messages that fill it, for grants that are heard.
        hops: how many parties the smashed data have passed through before they are heard.
        sees_labels: whether the targets' labels are known at the seat.
        hears_labels: whether the seat hears labels on the wire, so that it knows them as they
            were sent.
        available: all grants that the seat holds or the experiment grants.
        filled: the available grants that fill the attack's view: those that it needs, and those
            that it can use.
    """

    role: Role
    links: Mapping[str, LinkSource]
    hops: int
    sees_labels: bool
    hears_labels: bool
    available: frozenset[str]
    filled: frozenset[str]


def mount_in(
    protocol: Protocol,
    role: Role,
    *,
    granted: Collection[str] = frozenset(),
    filled: frozenset[str] = frozenset(),
) -> Mount:
    """The mount at a seat of a protocol.

    Args:
        protocol: the protocol.
        role: the seat.
        granted: what is granted beyond what the seat holds.
        filled: the grants that fill the attack's view.
    """
    seat = protocol.seats[role]
    available = seat.grants | frozenset(granted)
    return Mount(
        role=role,
        links=seat.links,
        hops=seat.hops,
        sees_labels="labels" in available,
        hears_labels=role != "client" and "labels" in seat.grants and protocol.labels_travel,
        available=available,
        filled=filled,
    )


def mount_attack(
    attack: AnyAttack, protocol: Protocol, grants: Collection[str], role: Role | None = None
) -> Mount:
    """Seat an attack in a protocol.

    Args:
        attack: the attack.
        protocol: the victim's protocol.
        grants: what the experiment grants beyond what the seat holds.
        role: the seat; by default the first of the attack's roles that holds what it needs.

    Raises:
        ThreatModelError: before any training, if the attack can't be mounted.
    """
    seats = protocol.seats
    if role is not None and role not in seats:
        raise ThreatModelError(f"this protocol has no {role}; it seats {', '.join(seats)}")
    name = type(attack).__name__
    if attack.family == "labels" or attack.attribute(torch.zeros(1, dtype=torch.int64)) is not None:
        seats = _without_labels(name, attack.roles if role is None else (role,), seats)
    role = role or seat_for(attack.view, attack.roles, seats, grants)
    held = seats[role].grants
    filled = permitted(attack.view, name=name, role=role, held=held, granted=grants)
    setup = getattr(attack, "setup", None)
    if setup is not None:
        permitted(setup, name=name, role=role, held=held, granted=grants)
    return mount_in(protocol, role, granted=grants, filled=filled)


def refuse_unsuited(attack: AnyAttack, task: Task) -> None:
    """Refuse an attack that can't work on the inputs or smashed data of a task.

    Raises:
        SpecError: with the attack's own reason, if it refuses the task.
    """
    reason = attack.refuses(task)
    if reason is not None:
        raise SpecError(f"{type(attack).__name__} doesn't apply: {reason}")


def _without_labels(
    name: str, roles: Collection[Role], seats: Mapping[Role, Holdings]
) -> dict[Role, Holdings]:
    private = {r: held for r, held in seats.items() if "labels" not in held.grants}
    if not set(roles) & set(private):
        raise ThreatModelError(
            f"{name} would steal labels that the {' or '.join(roles)} holds anyway in this "
            "protocol: use one with private labels (u_shaped, or vanilla with labels_at='server')"
        )
    return private
