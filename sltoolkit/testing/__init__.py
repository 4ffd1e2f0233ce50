"""The contract suite: checks that a plug-in keeps its contract, for any test runner.

    from sltoolkit.testing import check_attack, check_defense, check_protocol

    def test_my_attack() -> None:
        check_attack(MyAttack)

Each of the three functions runs every check that applies, on the suite's own tiny victims, and
raises an `AssertionError` whose text says what is wrong. The single checks are functions in
`judging`, `outcomes`, `listeners`, `hijackers`, `defenses`, `protocols`, `facts` and `sources`;
`cheats.catalog` holds deliberately bad plug-ins, each with the check that catches it.

Whether an attack *finds* anything is another question. `calibrate` answers it with leaks of known
dose (`KnownDose`) in the victims of `dosed`, `threshold` names the smallest dose that it finds, and
`dose_figure` draws its readings.
"""

import sltoolkit.testing.assertions  # noqa: F401  first: the other modules take seconds to load
from sltoolkit.testing.attacks import check_attack
from sltoolkit.testing.calibration import Reading, calibrate, threshold
from sltoolkit.testing.defenses import check_defense
from sltoolkit.testing.dose_figure import dose_figure
from sltoolkit.testing.known_dose import KnownDose
from sltoolkit.testing.protocols import check_protocol

__all__ = [
    "KnownDose", "Reading", "calibrate", "check_attack", "check_defense", "check_protocol",
    "dose_figure", "threshold",
]  # fmt: skip
