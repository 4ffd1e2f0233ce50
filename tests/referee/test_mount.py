"""Mounting an attack: in which seat, and what is known there."""

from typing import Any

import pytest
from support.scripted_attacks import Says, mean_of_aux
from support.toys import victim

from sltoolkit.attacks import Direction
from sltoolkit.contracts.attack import Role
from sltoolkit.errors import ThreatModelError
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.referee.judge import Verdict, judge
from sltoolkit.referee.mount import mount_attack


def test_the_seat_is_the_first_that_holds_what_the_attack_needs() -> None:
    vanilla = Vanilla(labels_at="server")
    assert mount_attack(Direction(), vanilla, ()).role == "client"
    assert mount_attack(Direction(), UShaped(), ()).role == "server"
    assert mount_attack(Direction(), vanilla, ("hints",)).filled == {"smashed_grad", "hints"}


def test_a_mount_says_what_is_known_in_a_seat() -> None:
    attack = Says(answer=mean_of_aux)
    labeled = Vanilla(labels_at="server")
    hears, holds, told = (
        mount_attack(attack, p, ("aux",)) for p in (UShaped(), labeled, Vanilla())
    )
    granted = mount_attack(attack, UShaped(), ("aux", "labels"))
    assert (hears.sees_labels, hears.hears_labels) == (False, False)
    assert (holds.sees_labels, holds.hears_labels) == (True, False)
    assert (told.sees_labels, told.hears_labels) == (True, True)
    assert (granted.sees_labels, granted.hears_labels) == (True, False)
    assert granted.available - hears.available == {"labels"}
    assert granted.filled == {"smashed", "aux"}  # its view has no room for labels
    assert hears.hops == 0


def test_a_seat_can_be_chosen_and_must_exist() -> None:
    def verdict(role: Role) -> Verdict:
        return judge(victim(), Says(answer=mean_of_aux), seed=0, role=role)

    assert verdict("eavesdropper").role == "eavesdropper"
    with pytest.raises(ThreatModelError, match=r"Says needs smashed.*as client it holds"):
        judge(victim(), Says(answer=mean_of_aux), seed=0, role="client")
    strange: Any = "postman"
    with pytest.raises(ThreatModelError, match="no postman; it seats server, client"):
        verdict(strange)
