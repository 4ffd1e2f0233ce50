"""The checks of every active attack; each raises an `AssertionError` that is a sentence.

`make` makes a new hijacker each time, because one object takes part in only one training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, final

from sltoolkit.contracts.attack import ActiveAttack
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import needs
from sltoolkit.errors import ThreatModelError
from sltoolkit.protocols import Protocol, SplitFedV1, UShaped, Vanilla
from sltoolkit.referee.listening import seize
from sltoolkit.streams import Stream
from sltoolkit.testing import outcomes, toys
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.testing.facts import refusal_of
from sltoolkit.testing.judging import another, check_well_formed, granted, mountable, outcome_of
from sltoolkit.testing.puppet import Puppet
from sltoolkit.testing.runs import Witnessed, seated
from sltoolkit.testing.states import differences, run_state, tensors_of
from sltoolkit.testing.toys import LARGE, SMALL, Size
from sltoolkit.training.phases import run_phases
from sltoolkit.training.victim import Victim
from sltoolkit.wire.message import Message
from sltoolkit.wire.wire import Wire

Make = Callable[[], ActiveAttack[Any]]

PROTOCOLS: dict[str, Protocol] = {
    "vanilla": Vanilla(), "u_shaped": UShaped(), "splitfed_v1": SplitFedV1(clients=2)
}  # fmt: skip
"""The protocols in which active attacks are checked, if they have a seat there."""


def homes_of(
    active: ActiveAttack[Any], protocols: Mapping[str, Protocol] = PROTOCOLS
) -> dict[str, Protocol]:
    """The protocols in which the attack can take part, by name.

    Raises:
        AssertionError: if there is none.
    """
    homes = {where: p for where, p in protocols.items() if mountable(active, p)}
    name = type(active).__name__
    tried = ", ".join(map(str, protocols.values()))
    assert homes, f"{name} can be mounted in none of these protocols: {tried}"
    return homes


def hijacker_checks(
    active: ActiveAttack[Any], protocols: Mapping[str, Protocol] = PROTOCOLS
) -> dict[str, Callable[[], None]]:
    """Every check of an active attack, by name."""
    homes, make = homes_of(active, protocols), partial(another, active)
    first = next(iter(homes.values()))
    checks: dict[str, Callable[[], None]] = {
        "refused_before": partial(check_refused_before_the_training, make, first)
    }
    for where, protocol in homes.items():
        found = _checks_in(make, protocol)
        checks |= {f"{check}-{where}": run for check, run in found.items()}
    return checks | {"awake": partial(check_awake, make, first)}


def check_awake(make: Make, protocol: Protocol) -> None:
    """On a larger victim, too, the attack uses nothing that is not granted, and changes nothing."""
    taken = hijacked(make(), protocol, size=LARGE)
    first = outcomes.first_world(taken.active, taken.victim)
    outcomes.check_leaves_victim(taken.active, taken.victim, first)
    outcomes.check_non_interference(taken.active, taken.victim, first)


def _checks_in(make: Make, protocol: Protocol) -> dict[str, Callable[[], None]]:
    taken = cache(lambda: hijacked(make(), protocol))
    first = cache(lambda: outcomes.first_world(taken().active, taken().victim))
    return {
        "well_formed": lambda: check_well_formed(taken().victim, taken().active),
        "reproducible": lambda: check_reproducible(make, protocol, taken()),
        "acts_by_what_it_says": lambda: check_acts_by_what_it_says(make, protocol),
        "leaves_victim": lambda: outcomes.check_leaves_victim(
            taken().active, taken().victim, first()
        ),
        "non_interference": lambda: outcomes.check_non_interference(
            taken().active, taken().victim, first()
        ),
    }


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Hijacked:
    """A victim, and the attack that took part in its training."""

    active: ActiveAttack[Any]
    victim: Victim


def hijacked(
    active: ActiveAttack[Any],
    protocol: Protocol,
    defense: Defense | None = None,
    *,
    norm: toys.Norm = "batch",
    seed: int = 50,
    size: Size = SMALL,
) -> Hijacked:
    """Train a toy victim with an active attack in its seat.

    Args:
        active: the attack that is checked.
        protocol: a protocol in which it has a seat.
        defense: the victim's defense.
        norm: the normalization in the victim's network.
        seed: the seed of the global generators meanwhile, on which nothing should depend.
        size: how large the victim is.
    """
    with Stream(seed).scope():
        victim = toys.victim(
            defense, norm=norm, protocol=protocol, active=active, grants=granted(active), size=size
        )
    return Hijacked(active=active, victim=victim)


def check_reproducible(make: Make, protocol: Protocol, taken: Hijacked | None = None) -> None:
    """One seed gives one outcome, whatever state the global generators have; asking again, too.

    Args:
        make: makes a hijacker.
        protocol: a protocol in which it has a seat.
        taken: a hijacker that has taken part in a training already, and the victim.
    """
    found = []
    for one in (taken or hijacked(make(), protocol), hijacked(make(), protocol, seed=51)):
        found += [tensors_of(outcome_of(one.active, one.victim)) for _ in range(2)]
    name = type(one.active).__name__
    for other, what in zip(found[1:], ("asked twice", "run twice", "run twice"), strict=True):
        wrong = differences(found[0], other)
        assert not wrong, f"{name}, {what}, gives two outcomes: {wrong} differ"


def check_acts_by_what_it_says(make: Make, protocol: Protocol) -> None:
    """A puppet that merely repeats the attack's messages has the same effect on all, bit for bit.

    So the attack acts only through what it sends, not through weights, random states or data.
    """
    active = make()
    live, heard = _played(active, protocol)
    sent = tuple(message for message in heard if message.src.name == "server")
    repeated, _ = _played(Puppet(sent=sent), protocol)
    wrong = differences(live, repeated)
    name = type(active).__name__
    assert not wrong, f"{name} acts by more than it says: {wrong[:4]} differ"


def _played(active: ActiveAttack[Any], protocol: Protocol) -> tuple[dict[str, Any], list[Message]]:
    """The state of a hijacked run as seen from outside, and its messages."""
    with Stream(9).scope():
        run, recorder = seated(norm="batch", protocol=protocol), RecordingEar()
        _, ear = seize(active, run, seed=5, grants=granted(active))
        run.cast.wire = Wire([recorder, ear])
        seen = Witnessed(run=run, heard=recorder.messages, losses=run_phases(run, 2))
        return run_state(seen), recorder.messages


def check_refused_before_the_training(make: Make, protocol: Protocol) -> None:
    """If any one grant that the setup needs is missing, no training begins."""
    active = make()
    name = type(active).__name__
    for missing in sorted(needs(active.setup)[0] - protocol.seats["server"].grants):
        said = refusal_of(
            ThreatModelError,
            partial(
                toys.victim, protocol=protocol, active=active, grants=granted(active) - {missing}
            ),
            otherwise=f"{name} is not refused without {missing}",
        )
        assert f"{name} needs {missing}" in said, f"unclear refusal: {said}"
