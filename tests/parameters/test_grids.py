from dataclasses import dataclass, field, replace
from typing import Annotated

from sltoolkit.parameters.grids import chosen, combinations, open_parameters, settled
from sltoolkit.parameters.parameter import Parameter


@dataclass(frozen=True, kw_only=True)
class Inner:
    lr: Annotated[float | None, Parameter("rate", above=0, grid=(0.1, 0.2))] = None
    window: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    weight: Annotated[float | None, Parameter("weight", least=0, grid=(1.0, 2.0))] = None
    inner: Inner = field(default_factory=Inner)


def test_open_are_those_that_are_none_and_have_a_grid() -> None:
    assert open_parameters(Inner()) == {"lr": (0.1, 0.2)}
    assert open_parameters(Inner(lr=0.3)) == {}
    assert list(open_parameters(Outer())) == ["weight", "inner.lr"]


def test_combinations_begin_with_the_first_of_every_grid() -> None:
    found = [(o.weight, o.inner.lr) for o in combinations(Outer())]
    assert found == [(1.0, 0.1), (1.0, 0.2), (2.0, 0.1), (2.0, 0.2)]
    assert combinations(Inner(lr=0.5)) == [Inner(lr=0.5)]


def test_what_was_chosen_can_be_settled_again() -> None:
    tuned = combinations(Outer())[3]
    values = chosen(Outer(), tuned)
    assert values == {"weight": 2.0, "inner.lr": 0.2}
    assert settled(Outer(), values) == tuned
    assert chosen(tuned, tuned) == {}
    assert chosen(replace(tuned, weight=None), tuned) == {"weight": 2.0}
