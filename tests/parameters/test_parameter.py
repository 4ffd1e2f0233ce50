from dataclasses import MISSING, dataclass
from typing import Annotated, Literal

import pytest

from sltoolkit.parameters.parameter import Declared, Parameter, declared, required


@dataclass(frozen=True, kw_only=True)
class Base:
    lr: Annotated[float | None, Parameter("rate", above=0)] = 1e-3
    name: str


@dataclass(frozen=True, kw_only=True)
class Own(Base):
    lr: Annotated[float | None, Parameter("rate", above=0, grid=(1e-3, 1e-2))] = None


def test_a_subclass_may_declare_anew() -> None:
    lr, name = declared(Own)
    assert (lr.name, lr.default, lr.parameter) == (
        "lr", None, Parameter("rate", above=0, grid=(1e-3, 1e-2)),
    )  # fmt: skip
    assert name.parameter is None
    assert name.default is MISSING
    assert required(name)
    assert not required(lr)


def test_of_a_function_the_arguments_with_a_default() -> None:
    def factory(shape: int, *, width: Annotated[int, Parameter("w", least=1)] = 2) -> None:
        """Make nothing."""

    (width,) = declared(factory)
    assert (width.name, width.kind, width.default) == ("width", int, 2)


@pytest.mark.parametrize(
    ("kind", "parameter", "expected"),
    [
        (int, Parameter("", least=1), "a whole number of at least 1"),
        (float | None, Parameter("", above=0, below=1), "a number above 0 and below 1, or None"),
        (Literal["a", "b"], None, "one of 'a', 'b'"),
        (bool, None, "true or false"),
        (tuple[int, ...], None, "a list of whole numbers"),
        (tuple[Literal["a", "b"], ...], None, "a list of 'a', 'b'"),
        (str, None, "a text"),
        (Own, None, "Own"),
    ],
)
def test_what_is_expected_in_words(kind: type, parameter: Parameter | None, expected: str) -> None:
    assert Declared("p", kind, None, parameter).expected == expected


OUTSIDE = (0, 1.1, float("inf"), float("nan"))


@pytest.mark.parametrize("number", [0.1, 1])
def test_a_range_has_open_and_closed_ends(number: float) -> None:
    assert Parameter("", above=0, most=1).admits(number)


@pytest.mark.parametrize("number", OUTSIDE)
def test_outside_of_it_and_where_there_is_no_number(number: float) -> None:
    assert not Parameter("", above=0, most=1).admits(number)
