"""The contract suite: checks that a plug-in keeps to its contract, for any test runner.

    from sltoolkit.testing import check_attack, check_defense, check_protocol

    def test_my_attack() -> None:
        check_attack(MyAttack)

Each of the three runs every check that applies, on tiny victims of its own, and raises an
`AssertionError` whose text says what is wrong. The single checks are functions in `attacks`,
`outcomes`, `listeners`, `hijackers`, `defenses`, `protocols`, `facts` and `sources`;
`cheats.catalog` holds deliberately bad plug-ins, each with the check that catches it.
"""

from sltoolkit.errors import SpecError
from sltoolkit.testing.attacks import check_attack
from sltoolkit.testing.defenses import check_defense
from sltoolkit.testing.protocols import check_protocol

__all__ = ["check_attack", "check_defense", "check_protocol"]

if not __debug__:
    raise SpecError("python -O removes the suite's assertions: run it without -O")
