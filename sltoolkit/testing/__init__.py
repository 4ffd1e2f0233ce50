"""The contract suite: checks that a plug-in keeps its contract, for any test runner.

    from sltoolkit.testing import check_attack, check_defense, check_protocol

    def test_my_attack() -> None:
        check_attack(MyAttack)

Each of the three functions runs every check that applies, on the suite's own tiny victims, and
raises an `AssertionError` whose text says what is wrong. The single checks are functions in
`judging`, `outcomes`, `listeners`, `hijackers`, `defenses`, `protocols`, `facts` and `sources`;
`cheats.catalog` holds deliberately bad plug-ins, each with the check that catches it.
"""

import sltoolkit.testing.assertions  # noqa: F401  first: the other modules take seconds to load
from sltoolkit.testing.attacks import check_attack
from sltoolkit.testing.defenses import check_defense
from sltoolkit.testing.protocols import check_protocol

__all__ = ["check_attack", "check_defense", "check_protocol"]
