"""Every registered attack, at its smallest setting, keeps to the contract."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract import attack_checks as checks
from contract import source_checks as sources
from contract.suitable_victims import victim_for
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Attack, Listener
from sltoolkit.training.victim import Victim

FOLDER = Path(__file__).parents[2] / "attacks"
AFTERWARDS = {k: v for k, v in ATTACKS.items() if issubclass(v, Attack)}

each = pytest.mark.parametrize("kind", ATTACKS.values(), ids=ATTACKS.keys())
each_afterwards = pytest.mark.parametrize("name", AFTERWARDS)
each_file = pytest.mark.parametrize("path", sorted(sources.sources_below(FOLDER)))
VictimCheck = Callable[[Attack[Any], Victim], None]


@each
@pytest.mark.parametrize(
    "check", [checks.check_refusal, checks.check_frozen_view, checks.check_citation]
)
def test_facts(kind: type[AnyAttack], check: Callable[[AnyAttack], None]) -> None:
    check(kind.smoke())


@each
def test_default_constructible(kind: type[AnyAttack]) -> None:
    checks.check_default_constructible(kind)
    assert issubclass(kind, Attack | Listener | ActiveAttack)


@each_afterwards
@pytest.mark.parametrize("defended", [False, True], ids=["undefended", "noise"])
@pytest.mark.parametrize("check", [checks.check_determinism, checks.check_non_interference])
def test_only_what_is_granted(name: str, check: VictimCheck, defended: bool) -> None:
    check(AFTERWARDS[name].smoke(), victim_for(name, defended=defended))


@each_afterwards
def test_leaves_the_victim_as_it_was(name: str) -> None:
    checks.check_leaves_victim(AFTERWARDS[name].smoke(), victim_for(name, defended=False))


@each_file
def test_imports_nothing_that_holds_the_truth(path: str) -> None:
    sources.check_imports(sources.sources_below(FOLDER)[path], path)


@each_file
def test_minds_its_own_business(path: str) -> None:
    sources.check_own_privates(sources.sources_below(FOLDER)[path], path)


@each_file
def test_runs_on_any_device(path: str) -> None:
    sources.check_device_agnostic(sources.sources_below(FOLDER)[path], path)
