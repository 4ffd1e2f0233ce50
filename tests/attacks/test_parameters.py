"""Parameters of all registered attacks: each is declared, and senseless values are refused."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Declared, Parameter, declared

NOT_YET = {"fora", "fsha", "fsha_property", "pcat", "sdar"}
"""Whose parameters have no ranges so far."""


def numeric(parameter: Declared) -> bool:
    """Whether it takes numbers, or None besides."""
    return bool({int, float} & {parameter.kind, *get_args(parameter.kind)})


def whole(parameter: Declared) -> bool:
    return int in {parameter.kind, *get_args(parameter.kind)}


EVERY = [
    pytest.param(
        kind, parameter, id=f"{name}.{parameter.name}",
        marks=pytest.mark.xfail(strict=True) if name in NOT_YET else (),
    )
    for name, kind in ATTACKS.items() for parameter in declared(kind) if numeric(parameter)
]  # fmt: skip


def outside(parameter: Parameter, step: float) -> Iterator[float]:
    """The nearest values beyond each end of its range."""
    if parameter.least is not None:
        yield parameter.least - step
    if parameter.above is not None:
        yield parameter.above
    if parameter.most is not None:
        yield parameter.most + step
    if parameter.below is not None:
        yield parameter.below


@pytest.mark.parametrize(("kind", "parameter"), EVERY)
def test_what_a_number_means_and_how_large_it_may_be_is_declared_and_checked(
    kind: type, parameter: Declared
) -> None:
    found = parameter.parameter
    assert found is not None
    assert found.meaning
    assert found.range
    step = 1 if whole(parameter) else 1e-6
    beyond = list(outside(found, step))
    wrong: list[Any] = [*beyond, "much", float("nan"), *([1.5] if whole(parameter) else [])]
    for value in wrong:
        with pytest.raises(SpecError, match=rf"{kind.__name__}: {parameter.name} must be "):
            kind(**{parameter.name: value})
    for value in found.grid:
        assert getattr(kind(**{parameter.name: value}), parameter.name) == value


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - NOT_YET))
def test_every_parameter_has_a_meaning(name: str) -> None:
    for parameter in declared(ATTACKS[name]):
        assert parameter.parameter is not None, parameter.name
        assert parameter.parameter.meaning, parameter.name
