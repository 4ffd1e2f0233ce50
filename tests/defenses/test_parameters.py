"""Parameters of defenses are declared once, and refused where they make no sense."""

from typing import Any

import pytest
from support.parameters import check_declared, senseless

from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SpecError

SENSELESS = [
    pytest.param(kind, name, value, id=f"{defense}-{name}-{value!r}")
    for defense, kind in DEFENSES.items()
    for name, value in senseless(kind)
]


@pytest.mark.parametrize(("kind", "name", "value"), SENSELESS)
def test_senseless_values_are_refused(kind: Any, name: str, value: object) -> None:
    with pytest.raises(SpecError, match=f"{kind.__name__}: {name} must be"):
        kind(**{name: value})


@pytest.mark.parametrize("defense", DEFENSES)
def test_every_parameter_says_what_it_means_and_every_number_its_range(defense: str) -> None:
    check_declared(DEFENSES[defense])
