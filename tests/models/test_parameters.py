"""Parameters of models are declared once, and refused where they make no sense."""

import pytest
from support.parameters import check_declared, senseless

from sltoolkit.errors import SpecError
from sltoolkit.models import MODELS, build

SENSELESS = [
    pytest.param(model, name, value, id=f"{model}-{name}-{value!r}")
    for model, entry in MODELS.items()
    for name, value in senseless(entry.factory)
]


@pytest.mark.parametrize(("model", "name", "value"), SENSELESS)
def test_senseless_values_are_refused(model: str, name: str, value: object) -> None:
    shape = (1, 128) if model == "ecg_cnn" else (3, 32, 32)
    with pytest.raises(SpecError, match=f"{model}: {name} must be"):
        build(model, shape=shape, classes=2, **{name: value})


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_says_what_it_means_and_every_number_its_range(model: str) -> None:
    check_declared(MODELS[model].factory)
