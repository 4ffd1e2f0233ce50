"""Every registered attack, at its smallest setting, keeps the contract."""

from collections.abc import Callable
from typing import Any

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack
from sltoolkit.defenses import DEFENSES
from sltoolkit.testing.attacks import attack_checks
from sltoolkit.testing.hijackers import hijacked, homes_of
from sltoolkit.testing.judging import check_well_formed

ACTIVE = {name: kind for name, kind in ATTACKS.items() if issubclass(kind, ActiveAttack)}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{what}")
        for name, kind in ATTACKS.items()
        for what, check in attack_checks(kind).items()
    ],
)
def test_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("kind", ACTIVE.values(), ids=ACTIVE.keys())
@pytest.mark.parametrize("defense", DEFENSES.values(), ids=DEFENSES.keys())
def test_an_active_attack_meets_every_defense(kind: type[ActiveAttack[Any]], defense: Any) -> None:
    active = kind.smoke()
    home = next(iter(homes_of(active).values()))
    taken = hijacked(active, home, defense.smoke(), norm="group")
    check_well_formed(taken.victim, active)
