"""Attacks on victims of the suite, run by the referee with every grant that they can use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sltoolkit.api import attack as attack_and_judge
from sltoolkit.contracts.attack import AnyAttack, Attack, Family, Role
from sltoolkit.contracts.grants import needs
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import TamperingError, ThreatModelError
from sltoolkit.protocols import Protocol
from sltoolkit.referee.judge import judge
from sltoolkit.referee.mount import mount_attack
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim


def views_of(attack: AnyAttack) -> tuple[type, ...]:
    """The views of an attack: at the end and, if it takes part in the training, before it."""
    return (attack.view,) if isinstance(attack, Attack) else (attack.view, attack.setup)


def granted(*attacks: AnyAttack) -> frozenset[str]:
    """All grants that the views of the attacks can hold."""
    both = [needs(view) for attack in attacks for view in views_of(attack)]
    return frozenset[str]().union(*(grants for pair in both for grants in pair))


def another(attack: Any) -> Any:
    """A further attack with the same parameters."""
    return replace(attack)


def mountable(attack: AnyAttack, protocol: Protocol) -> bool:
    """Whether the protocol has a seat for the attack where what it is after is private."""
    try:
        mount_attack(attack, protocol, granted(attack))
    except ThreatModelError:
        return False
    return True


def outcome_of(attack: AnyAttack, victim: Victim) -> Outcome:
    """The attack's outcome for the victim's own targets."""
    with leaving_the_referee():
        return judge(victim, attack, seed=3, grants=granted(attack)).outcome


@contextmanager
def leaving_the_referee() -> Iterator[None]:
    """The body's attack leaves the referee's own functions as they are."""
    try:
        yield
    except TamperingError as e:
        raise AssertionError(str(e)) from e


def check_leaves_referee(attack: AnyAttack, victim: Victim) -> None:
    """An attack leaves the referee's functions and its registry of metrics as they are."""
    outcome_of(attack, victim)


def check_well_formed(victim: Victim, attack: AnyAttack) -> None:
    """The referee can judge the attack on the targets that it was asked about."""
    name = type(attack).__name__
    with leaving_the_referee():
        verdict = attack_and_judge(victim, attack, grants=granted(attack)).verdict
    assert verdict.scores, f"{name} can't be judged: no metric applies to its outcome"
    for metric, scores in verdict.scores.items():
        assert bool(scores.isfinite().all()), f"{name} has no finite {metric}"
        assert verdict.baselines.get(metric), f"{name} has no baseline for {metric}"


class _Looked(Exception):  # noqa: N818
    """Carries a view out of the referee."""

    def __init__(self, view: Any) -> None:
        self.view = view


def view_for(attack: AnyAttack, victim: Victim, *, role: Role | None = None) -> Any:
    """The view that the referee would hand to an attack, with every grant that it can use."""

    @dataclass(frozen=True, kw_only=True)
    class Looking(Attack[Any]):
        roles: ClassVar[tuple[Role, ...]] = attack.roles
        family: ClassVar[Family] = attack.family
        view: ClassVar[type] = attack.view
        citation: ClassVar[str] = attack.citation

        def run(self, view: Any, *, rng: Stream) -> Outcome:
            raise _Looked(view)

    try:
        judge(victim, Looking(), seed=3, grants=granted(attack), role=role)
    except _Looked as looked:
        return looked.view
    raise AssertionError("the referee ran no attack")
