"""Every registered attack meets every registered defense, at their smallest settings.

Active attacks are tested with defenses in test_attacks.
"""

from functools import cache
from typing import Any

import pytest
from support.toys import victim

from contract.kinds import OF_LOGITS, OF_UPDATES
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import ProtocolError
from sltoolkit.protocols import Vanilla
from sltoolkit.testing.judging import check_well_formed, granted
from sltoolkit.testing.victims import Make, logits
from sltoolkit.training.victim import Victim

KINDS: dict[str, Any] = {**ATTACKS}
SMALLEST = {name: kind.smoke() for name, kind in KINDS.items()}
LISTENERS = [listener for listener in SMALLEST.values() if isinstance(listener, Listener)]
OF_THE_CUT = [
    name
    for name, smallest in SMALLEST.items()
    if name not in (*OF_UPDATES, *OF_LOGITS) and not isinstance(smallest, ActiveAttack)
]
each_defense = pytest.mark.parametrize("defense", DEFENSES)


@cache
def heard(defense: str) -> Victim:
    """One victim for all attacks that hear the cut; every listener heard its training."""
    return victim(
        DEFENSES[defense].smoke(), protocol=Vanilla(labels_at="server"), listeners=LISTENERS,
        grants=granted(*LISTENERS),
    )  # fmt: skip


@pytest.mark.parametrize("name", OF_THE_CUT)  # first, so that a victim's tests follow each other
@each_defense
def test_at_the_cut(name: str, defense: str) -> None:
    check_well_formed(heard(defense), SMALLEST[name])


@each_defense
@pytest.mark.parametrize("name", OF_LOGITS)
def test_at_the_logits(name: str, defense: str) -> None:
    check_well_formed(logits(DEFENSES[defense].smoke(), norm="group"), SMALLEST[name])


@each_defense
@pytest.mark.parametrize(("name", "make"), OF_UPDATES.items(), ids=OF_UPDATES.keys())
def test_of_updates_there_is_nothing_that_a_defense_of_the_cut_could_do(
    name: str, make: Make, defense: str
) -> None:
    if defense == "none":
        check_well_formed(make(DEFENSES[defense].smoke()), SMALLEST[name])
        return
    with pytest.raises(ProtocolError, match="would be silently inert: use a protocol that splits"):
        make(DEFENSES[defense].smoke())
