"""The look of a method follows from its name."""

from itertools import combinations
from typing import Any

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.report.canvas import COLORS
from sltoolkit.report.styles import ORDER, styles


def test_a_method_looks_the_same_beside_any_others() -> None:
    alone = {name: styles([name])[name] for name in ORDER}

    assert styles(ORDER) == alone
    assert styles(reversed(ORDER)) == alone


@pytest.mark.parametrize("count", [len(COLORS), len(ORDER)])
def test_known_methods_never_look_alike(count: int) -> None:
    looks = list(styles(ORDER[:count]).values())

    assert not [pair for pair in combinations(looks, 2) if pair[0] == pair[1]]


def test_the_first_have_a_color_each() -> None:
    looks = styles(ORDER[: len(COLORS)]).values()

    assert [look.color for look in looks] == list(COLORS)
    assert {look.linestyle for look in looks} == {"-"}


@pytest.mark.parametrize("variant", ["decoder(lr=0.1)", "decoder [queries]"])
def test_variants_keep_the_color_and_take_another_line_and_mark(variant: str) -> None:
    both = styles(["decoder", variant])

    assert both["decoder"].color == both[variant].color
    assert both["decoder"].linestyle != both[variant].linestyle
    assert both["decoder"].marker != both[variant].marker


def test_a_plugin_of_ones_own_has_a_look_and_keeps_it() -> None:
    first = styles(["my_attack", "decoder"])["my_attack"]

    assert styles(["my_attack"])["my_attack"] == first


def test_the_same_name_twice_is_one_method() -> None:
    assert len(styles(["decoder", "decoder"])) == 1
    assert styles([]) == {}


def test_a_method_keeps_its_look_and_no_two_look_alike() -> None:
    every = styles(ORDER)
    kinds: dict[str, Any] = ATTACKS
    assert {name for name, kind in kinds.items() if kind.family == "reconstruction"} == set(ORDER)
    assert len({(s.color, s.linestyle) for s in every.values()}) == len(ORDER)
    assert len({(s.color, s.marker) for s in every.values()}) == len(ORDER)
    assert styles(["whitebox"])["whitebox"] == every["whitebox"]
    mine = styles(["mine", "yours"])["mine"]  # a plug-in's look depends on its name alone
    assert styles(["a_rival", "mine", "whitebox"])["mine"] == mine
    variants = styles(["decoder(width=4)", "decoder(width=8)"])
    assert len({(s.color, s.linestyle) for s in variants.values()}) == 2
    assert len({s.color for s in variants.values()}) == 1
    crowd = styles([f"{name}{which}" for name in ORDER for which in ("", "(lr=1)")]).values()
    assert len({(s.color, s.marker) for s in crowd}) == 2 * len(ORDER)
