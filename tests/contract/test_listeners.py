"""Every registered listener, at its smallest setting, keeps to the contract."""

from collections.abc import Callable
from typing import Any

import pytest

from contract import attack_checks as checks
from contract import listener_checks as listening
from contract.cheats import Cheating
from contract.example_listener import Drifts, Overhears, Peeks, PseudoClient, Wearies
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import Listener
from sltoolkit.protocols import (
    Protocol,
    SplitFedV1,
    SplitFedV3,
    UShaped,
    Vanilla,
    Vertical,
)

LISTENERS = {k: v for k, v in ATTACKS.items() if issubclass(v, Listener)}
PROTOCOLS: dict[str, Protocol] = {
    "labels_at_server": Vanilla(labels_at="server"),
    "u_shaped": UShaped(),
    "splitfed_v1": SplitFedV1(clients=2),
    "splitfed_v3": SplitFedV3(clients=2),
    "vertical": Vertical(),
}
Kind = type[Listener[Any]]

each = pytest.mark.parametrize("kind", LISTENERS.values(), ids=LISTENERS.keys())


@each
@pytest.mark.parametrize("count", [1, 3])
def test_it_is_passive(kind: Kind, count: int) -> None:
    checks.check_passive(kind.smoke, count=count)


@each
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_it_is_passive_in(kind: Kind, protocol: Protocol) -> None:
    checks.check_passive(kind.smoke, protocol=protocol)


@each
def test_one_seed_one_outcome(kind: Kind) -> None:
    listening.check_determinism(kind.smoke)


@each
def test_who_else_listens_makes_no_difference(kind: Kind) -> None:
    listening.check_alone_or_not(kind.smoke, Cheating())


@each
def test_it_leaves_the_victim_as_it_was(kind: Kind) -> None:
    listening.check_leaves_victim(kind.smoke)


@each
def test_it_depends_on_what_is_granted_and_heard_alone(kind: Kind) -> None:
    listening.check_non_interference(kind.smoke)


def test_the_suite_lets_an_honest_listener_pass() -> None:
    for check in (
        listening.check_determinism, listening.check_leaves_victim,
        listening.check_non_interference,
    ):  # fmt: skip
        check(PseudoClient.smoke)
    listening.check_alone_or_not(PseudoClient.smoke, Cheating())


@pytest.mark.parametrize(
    ("cheat", "check", "reason"),
    [
        (Peeks, listening.check_non_interference, "was not granted"),
        (Drifts, listening.check_determinism, "two outcomes"),
        (Wearies, listening.check_determinism, "asked again"),
        (Overhears, lambda k: listening.check_alone_or_not(k, Overhears()), "who else listens"),
    ],
)
def test_the_suite_catches(cheat: Kind, check: Callable[[Any], None], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check(cheat)
