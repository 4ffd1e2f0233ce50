"""Building objects from tables, including parameters that have parameters themselves."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.build import attack_from, table_into
from sltoolkit.bench.sweep import swept_tables
from sltoolkit.errors import SpecError
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.rows.names import parameters_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    steps: Annotated[int, Parameter("of the descent", least=1)] = 3
    lr: Annotated[float | None, Parameter("rate", above=0)] = None

    def __post_init__(self) -> None:
        check_parameters(self)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner(lr=0.5)
    made: Inner = field(default_factory=lambda: Inner(lr=0.25))
    perhaps: Inner | None = None
    width: Annotated[int, Parameter("of it", least=1)] = 4

    def __post_init__(self) -> None:
        check_parameters(self)


def test_a_nested_table_changes_what_it_names() -> None:
    made = table_into(
        Outer, {"inner": {"steps": 7}, "made": {"steps": 8}, "perhaps": {"steps": 9}}, "attack[0]"
    )
    assert made.inner == Inner(steps=7, lr=0.5)
    assert made.made == Inner(steps=8, lr=0.25)
    assert made.perhaps == Inner(steps=9)
    assert parameters_json(made) == (
        '{"inner": {"lr": 0.5, "steps": 7}, "made": {"lr": 0.25, "steps": 8}, '
        '"perhaps": {"lr": null, "steps": 9}, "width": 4}'
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inner": {"stepz": 1}}, r"unknown key 'attack\[0\]\.inner\.stepz'; did you mean 'steps'"),
    ({"inner": {"steps": "long"}}, r"^attack\[0\]\.inner\.steps: .*'long'"),
    ({"inner": {"steps": 0}}, r"^attack\[0\]\.inner\.steps must be .* at least 1, got 0"),
    ({"perhaps": {"steps": 0}}, r"^attack\[0\]\.perhaps\.steps must be .* got 0"),
    ({"inner": 3}, r"^attack\[0\]\.inner: .*got 3"),
    ({"width": 0}, r"^attack\[0\]\.width must be a whole number of at least 1, got 0"),
    ({"width": {"x": 1}}, r"^attack\[0\]\.width: .*got \{'x': 1\}"),
]


@pytest.mark.parametrize(("table", "said"), WRONG)
def test_a_mistake_is_named_by_its_dotted_path(table: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        table_into(Outer, table, "attack[0]")


def test_a_sweep_reaches_into_a_nested_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTACKS, "outer", Outer)
    sweep = {"attack.outer.inner.steps": [1, 2], "attack.outer.width": [5]}
    table = {"name": "outer", "inner": {"lr": 0.1}}
    swept: list[Any] = [attack_from(t, "attack[0]") for t in swept_tables("attack", table, sweep)]
    assert [(s.inner.steps, s.inner.lr, s.width) for s in swept] == [(1, 0.1, 5), (2, 0.1, 5)]
    assert table == {"name": "outer", "inner": {"lr": 0.1}}


def test_a_sweep_of_something_else_leaves_a_table_alone() -> None:
    table = {"name": "norm"}
    assert list(swept_tables("attack", table, {"defense.norm.x": [1, 2]})) == [table]
