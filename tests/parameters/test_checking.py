from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from sltoolkit.errors import SpecError
from sltoolkit.parameters.checking import check_arguments, check_parameters
from sltoolkit.parameters.parameter import Parameter


@dataclass(frozen=True, kw_only=True)
class Example:
    steps: Annotated[int, Parameter("of the descent", least=1)] = 3
    rate: Annotated[float | None, Parameter("of learning", above=0, most=1)] = None
    start: Literal["mean", "zero"] = "mean"
    classes: Annotated[tuple[int, ...], Parameter("of interest", least=0, nonempty=True)] = (0,)
    kinds: tuple[Literal["corn", "rye"], ...] = ()
    box: bool = True
    plain: float = 0.0

    def __post_init__(self) -> None:
        check_parameters(self)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.0}, "steps must be a whole number of at least 1, got 2.0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"steps": None}, "steps must be a whole number"),
        ({"steps": "3"}, "steps must be a whole number of at least 1, got '3'"),
        ({"rate": 0}, "rate must be a number above 0 and at most 1, or None, got 0"),
        ({"rate": 1.5}, "at most 1"),
        ({"rate": float("nan")}, "got nan"),
        ({"start": "middle"}, "start must be one of 'mean', 'zero', got 'middle'$"),
        ({"start": "means"}, r"got 'means'; did you mean 'mean'\?"),
        ({"kinds": ("corn", "ryee")}, r"kinds must be a list of 'corn', 'rye', got .*mean 'rye'\?"),
        ({"kinds": ["corn", 1]}, r"got \['corn', 1\]"),
        ({"classes": ()}, "classes must not be empty"),
        ({"classes": (1, -1)}, r"classes must be a list of whole numbers of at least 0"),
        ({"box": 1}, "box must be true or false"),
        ({"plain": "much"}, "plain must be a number"),
    ],
)
def test_senseless_values_are_refused(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        Example(**values)


def test_values_in_range_and_of_the_right_type_pass() -> None:
    made = Example(steps=1, rate=1, classes=(0, 4), start="zero", box=False, plain=-1)
    assert made.rate == 1


def test_numpy_numbers_become_pythons_own() -> None:
    made = Example(steps=np.int64(4), rate=np.float32(0.5))  # type: ignore[arg-type]
    assert type(made.steps) is int
    assert type(made.rate) is float


def test_a_list_becomes_a_tuple() -> None:
    made = Example(kinds=["rye"], classes=[1, 2])  # type: ignore[arg-type]
    assert (made.kinds, made.classes) == (("rye",), (1, 2))


def test_arguments_of_a_function_are_checked_alike() -> None:
    def factory(*, shape: object, width: Annotated[int, Parameter("w", least=1)] = 2) -> None:
        """Make nothing."""

    check_arguments(factory, {"shape": "anything", "width": 1}, "net")
    with pytest.raises(SpecError, match="net: width must be a whole number of at least 1, got 0"):
        check_arguments(factory, {"width": 0}, "net")
