"""Short names, which show only the parameters that tell two plug-ins apart."""

import json
from typing import Any

import pytest

from sltoolkit.report.plugin_labels import labels


def made(*entries: tuple[str, Any], lone: int = 0) -> list[str]:
    return labels([n for n, _ in entries], [json.dumps(p) for _, p in entries], lone=lone)


def test_a_name_alone_tells_one_of_a_kind() -> None:
    assert made(("noise", {"std": 0.5}), ("nopeek", {"weight": 1.0})) == ["noise", "nopeek"]


def test_only_what_varies_among_the_same_name_is_shown() -> None:
    entries = [("noise", {"std": s, "clip": 1.0}) for s in (0.5, 2.0)]

    assert made(*entries, ("nopeek", {"weight": 1.0})) == [
        "noise(std=0.5)", "noise(std=2)", "nopeek"
    ]  # fmt: skip


def test_the_same_entry_twice_is_one_of_a_kind() -> None:
    assert made(("noise", {"std": 0.5}), ("noise", {"std": 0.5})) == ["noise", "noise"]


@pytest.mark.parametrize("name", ["none", "no_defense"])
def test_nothing_is_called_undefended(name: str) -> None:
    assert made((name, {})) == ["undefended"]


def test_links_of_a_chain_are_told_apart_one_by_one() -> None:
    entries = [("noise+nopeek", [{"std": 0.5}, {"weight": w}]) for w in (1, 2)]

    assert made(*entries) == ["noise+nopeek(weight=1)", "noise+nopeek(weight=2)"]


def test_a_lone_plugin_may_show_its_few_parameters_and_always_its_budget() -> None:
    assert made(("noise", {"std": 0.12345}), lone=1) == ["noise(std=0.123)"]
    assert made(("noise", {"std": 0.5, "clip": 1}), lone=1) == ["noise"]
    assert made(("dp", {"epsilon": 5.0, "clip": 1, "delta": 1e-5}), lone=1) == ["dp(epsilon=5)"]
    assert made(("dp", {"epsilon": 5.0})) == ["dp"]


def test_a_parameter_that_only_one_has_tells_them_apart() -> None:
    assert made(("noise", {"std": 0.5}), ("noise", {"std": 0.5, "clip": 3})) == [
        "noise", "noise(clip=3)"
    ]  # fmt: skip


def test_no_parameters_at_all_are_fine() -> None:
    assert labels(["noise"], [""]) == ["noise"]
    assert labels([], []) == []
