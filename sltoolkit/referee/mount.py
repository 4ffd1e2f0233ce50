"""Where an attack is seated, and whether it may be."""

from collections.abc import Collection, Mapping

import torch

from sltoolkit.contracts.attack import AnyAttack, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.grants import Holdings, permitted, seat_for
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.training.protocol import Protocol

STANDARD_GRANTS = frozenset({"aux", "release", "prior"})
"""What an experiment grants unless it says otherwise: own data, queries, class frequencies."""


def check_seat(
    attack: AnyAttack, protocol: Protocol, grants: Collection[str], role: Role | None = None
) -> tuple[Role, frozenset[str]]:
    """The role an attack takes in a protocol and the grants that fill its view.

    Raises:
        ThreatModelError: in a sentence, if it can't be mounted; before any training.
    """
    seats = protocol.seats
    if role is not None and role not in seats:
        raise ThreatModelError(f"this protocol has no {role}; it seats {', '.join(seats)}")
    name = type(attack).__name__
    if attack.family == "labels" or attack.attribute(torch.zeros(1, dtype=torch.int64)) is not None:
        seats = _without_labels(name, attack.roles if role is None else (role,), seats)
    role = role or seat_for(attack.view, attack.roles, seats, grants)
    filled = permitted(
        attack.view, name=name, role=role, held=seats[role].grants, granted=grants
    )  # fmt: skip
    setup = getattr(attack, "setup", None)
    if setup is not None:
        permitted(setup, name=name, role=role, held=seats[role].grants, granted=grants)
    return role, filled


def refuse_unsuited(attack: AnyAttack, task: Task) -> None:
    """Refuse an attack that can't work on such inputs or smashed data.

    Raises:
        SpecError: with the attack's reason.
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
