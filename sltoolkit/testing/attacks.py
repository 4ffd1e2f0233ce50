"""The checks of every attack; each raises an `AssertionError` that is a sentence.

    from sltoolkit.testing import check_attack

    check_attack(MyAttack)                    # on victims of the suite, at its smallest setting
    check_attack(MyAttack(steps=5))           # with these parameters
    check_attack(MyAttack, victims=[victim])  # on victims of your own, from `sltoolkit.train`

The module `outcomes` checks what an attack hands back about a victim, `listeners` and `hijackers`
check attacks that listen or take over a seat, `facts` checks what an attack declares, and `sources`
checks its source text.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Attack, Listener
from sltoolkit.protocols import Protocol
from sltoolkit.testing import facts, hijackers, listeners, outcomes
from sltoolkit.testing.judging import check_well_formed
from sltoolkit.testing.sources import ATTACKS, source_checks
from sltoolkit.testing.toys import LARGE
from sltoolkit.testing.victims import Make, home_of, trained
from sltoolkit.training.victim import Victim

Checks = dict[str, Callable[[], None]]
"""The checks of one plug-in, by name."""


def check_attack(
    attack: type[AnyAttack] | AnyAttack,
    *,
    victims: Sequence[Victim] = (),
    protocols: Sequence[Protocol] = (),
) -> None:
    """Run every check that applies to an attack.

    Args:
        attack: a class, which is checked at its smallest setting (`smoke`), or an instance.
        victims: the victims that an attack after the fact is checked on; by default the suite's
            first victim that it can be mounted on, once undefended and once defended by noise.
        protocols: the protocols in which an attack on a training is checked; by default those of
            the suite that have a seat for it.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    for check in attack_checks(attack, victims=victims, protocols=protocols).values():
        check()


def attack_checks(
    attack: type[AnyAttack] | AnyAttack,
    *,
    victims: Sequence[Victim] = (),
    protocols: Sequence[Protocol] = (),
) -> Checks:
    """Every check that applies to an attack, by name; the cheapest come first.

    Args:
        attack: a class or an instance.
        victims: as for `check_attack`.
        protocols: as for `check_attack`.
    """
    kind = attack if isinstance(attack, type) else type(attack)
    one = facts.smallest(attack)
    assert isinstance(one, Attack | Listener | ActiveAttack), (
        f"{kind.__name__} is no Attack, Listener or ActiveAttack"
    )
    checks: Checks = {
        "default_constructible": partial(facts.check_default_constructible, kind),
        "citation": partial(facts.check_citation, one),
        "frozen_view": partial(facts.check_frozen_view, one),
        "refusal": partial(facts.check_refusal, one),
    }
    if not isinstance(one, Attack):
        facts.check_frozen_view(one)  # now, because its views decide which protocols can seat it
    given = {f"protocol{k}": protocol for k, protocol in enumerate(protocols)}
    if isinstance(one, Listener):
        checks |= listeners.listener_checks(one, given or listeners.PROTOCOLS)
    elif isinstance(one, ActiveAttack):
        checks |= hijackers.hijacker_checks(one, given or hijackers.PROTOCOLS)
    else:
        checks |= _checks_of_outcomes(one, victims)
    return checks | source_checks(kind, ATTACKS)


def _checks_of_outcomes(attack: Attack[Any], victims: Sequence[Victim]) -> Checks:
    home = cache(partial(home_of, attack))
    made: dict[str, Callable[[], Victim]] = {
        "undefended": lambda: trained(home(), defended=False),
        "noise": lambda: trained(home(), defended=True),
    }
    checks: Checks = {"well_formed": lambda: _mounted(home)}
    if victims:
        made = {f"victim{k}": partial(lambda v: v, victim) for k, victim in enumerate(victims)}
        checks = {
            f"well_formed-{name}": partial(check_well_formed, victim, attack)
            for name, victim in zip(made, victims, strict=True)
        }
    for name, make in made.items():
        checks |= {f"{check}-{name}": run for check, run in _checks_on(attack, make).items()}
    if not victims:
        checks["awake"] = lambda: check_awake(attack, home())
    return checks


def _mounted(home: Callable[[], Make]) -> None:
    """The attack is well-formed on its home victim; `home` raises an `AssertionError` otherwise."""
    home()


def check_awake(attack: Attack[Any], home: Make) -> None:
    """On a larger victim, too, the attack uses nothing that is not granted, and changes nothing.

    That victim differs from the suite's usual ones in the number of its targets, the shape of its
    inputs, the size of its batches and the sizes of all parts, so that an attack that cheats from
    ten targets on is awake.

    Args:
        attack: the attack that is checked.
        home: makes a victim that it can be mounted on.
    """
    victim = trained(home, defended=True, size=LARGE)
    first = outcomes.first_world(attack, victim)
    outcomes.check_leaves_victim(attack, victim, first)
    outcomes.check_non_interference(attack, victim, first)


def _checks_on(attack: Attack[Any], make: Callable[[], Victim]) -> Checks:
    """The checks on one victim, which share the attack's run in the first world."""
    first = cache(lambda: outcomes.first_world(attack, make()))
    return {
        "determinism": lambda: outcomes.check_determinism(attack, make(), first()),
        "leaves_victim": lambda: outcomes.check_leaves_victim(attack, make(), first()),
        "non_interference": lambda: outcomes.check_non_interference(attack, make(), first()),
    }
