"""The parameters of all registered plug-ins: declared once, and refused if they make no sense."""

import pytest
from support.parameters import check_declared, outside, senseless

from sltoolkit.attacks import ATTACKS
from sltoolkit.data.partition import PARTITIONS
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SpecError
from sltoolkit.models import MODELS, build
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.wire.reducers import REDUCERS

KINDS: list[type] = [
    *ATTACKS.values(), *DEFENSES.values(), *PROTOCOLS.values(), *PARTITIONS.values(),
    *REDUCERS.values(), Training, Targets,
]  # fmt: skip
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
EVERY_MODEL = pytest.mark.parametrize("model", MODELS)


@EVERY_KIND
def test_a_value_out_of_range_or_of_the_wrong_type_is_refused(kind: type) -> None:
    for name, value in senseless(kind):
        with pytest.raises(SpecError, match=f"^{kind.__name__}: {name} must be .*, got "):
            kind(**{name: value})


@EVERY_KIND
def test_every_parameter_says_what_it_means_and_every_number_its_range(kind: type) -> None:
    check_declared(kind)


@EVERY_MODEL
def test_a_model_refuses_them_too(model: str) -> None:
    shape = (1, 128) if model == "ecg_cnn" else (3, 32, 32)
    for name, value in senseless(MODELS[model].factory):
        with pytest.raises(SpecError, match=f"{model}: {name} must be .*, got "):
            build(model, shape=shape, classes=2, **{name: value})


@EVERY_MODEL
def test_and_declares_what_it_takes(model: str) -> None:
    check_declared(MODELS[model].factory)


@pytest.mark.parametrize(
    ("attack", "name", "value"),
    [("regression", "weight", -1), ("whitebox", "steps", -5), ("decoder", "steps", -1)],
)
def test_rows_that_said_ok_with_far_less_leak(attack: str, name: str, value: int) -> None:
    with pytest.raises(SpecError, match=f"{name} must be"):
        ATTACKS[attack](**{name: value})


def test_what_is_tried_lies_beyond_each_end() -> None:
    assert list(outside(Parameter("", least=1, below=4))) == [0, 4]
    tried = list(senseless(PROTOCOLS["fedavg"]))
    assert {("dropout", 1), ("dropout", -1), ("participation", 0), ("local_epochs", 0)} <= {
        (name, value) for name, value in tried if isinstance(value, int)
    }
