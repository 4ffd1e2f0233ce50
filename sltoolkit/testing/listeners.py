"""The checks of every listener; each raises an `AssertionError` that is a sentence.

`make` makes a new listener each time, because one object listens to only one training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, final

from sltoolkit.contracts.attack import Listener
from sltoolkit.protocols import Protocol, SplitFedV1, SplitFedV3, UShaped, Vanilla, Vertical
from sltoolkit.streams import Stream
from sltoolkit.testing import toys
from sltoolkit.testing.careless import Careless
from sltoolkit.testing.judging import another, check_well_formed, granted, mountable, outcome_of
from sltoolkit.testing.other_world import another_world
from sltoolkit.testing.outcomes import blaming_secrets, check_same_outcome, first_world
from sltoolkit.testing.recorder import recorder_for, replayed
from sltoolkit.testing.runs import seated, witness
from sltoolkit.testing.states import differences, run_state, tensors_of, victim_state
from sltoolkit.testing.toys import LARGE, SMALL, Size
from sltoolkit.training.run import Run
from sltoolkit.training.victim import Victim

Make = Callable[[], Listener[Any]]

PROTOCOLS: dict[str, Protocol] = {
    "vanilla": Vanilla(),
    "labels_at_server": Vanilla(labels_at="server"),
    "u_shaped": UShaped(),
    "splitfed_v1": SplitFedV1(clients=2),
    "splitfed_v3": SplitFedV3(clients=2),
    "vertical": Vertical(),
}
"""The protocols in which listeners are checked, if they have a seat there."""


def listener_checks(
    listener: Listener[Any], protocols: Mapping[str, Protocol] = PROTOCOLS
) -> dict[str, Callable[[], None]]:
    """Every check of a listener, by name."""
    make, name = partial(another, listener), type(listener).__name__
    homes = {where: p for where, p in protocols.items() if mountable(listener, p)}
    tried = ", ".join(map(str, protocols.values()))
    assert homes, f"{name} can be mounted in none of these protocols: {tried}"
    home = next(iter(homes.values()))
    alone = cache(lambda: listened(make(), protocol=home))
    return {
        **{f"passive-{w}": partial(check_passive, make, protocol=p) for w, p in homes.items()},
        "passive-larger": partial(check_passive, make, protocol=home, size=LARGE),
        "passive-three_at_once": partial(check_passive, make, count=3, protocol=home),
        "well_formed": lambda: check_well_formed(alone().victim, alone().listener),
        "determinism": lambda: check_determinism(make, alone()),
        "alone_or_not": lambda: check_alone_or_not(make, Careless(), alone()),
        "leaves_victim": lambda: check_leaves_victim(make, alone()),
        "non_interference": lambda: check_non_interference(make, protocol=home),
        "awake": lambda: check_non_interference(make, protocol=home, size=LARGE),
    }


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Listened:
    """A listener that heard a training.

    Attributes:
        listener: the listener.
        victim: the victim of the training.
        protocol: the protocol of the training.
        outcome: everything that the listener handed back afterwards, by name.
    """

    listener: Listener[Any]
    victim: Victim
    protocol: Protocol
    outcome: dict[str, Any]


def listened(
    listener: Listener[Any],
    *,
    beside: Sequence[Listener[Any]] = (),
    protocol: Protocol | None = None,
    seed: int = 100,
) -> Listened:
    """Train the toy victim with a listener, and let the listener attack.

    Args:
        listener: the listener that is checked.
        beside: further listeners.
        protocol: vanilla by default.
        seed: the seed of the global generators meanwhile, on which nothing should depend.
    """
    protocol = protocol or Vanilla()
    with Stream(seed).scope():
        victim = toys.victim(
            norm="batch", protocol=protocol, listeners=[*beside, listener],
            grants=granted(listener, *beside),
        )  # fmt: skip
        outcome = tensors_of(outcome_of(listener, victim))
    return Listened(listener=listener, victim=victim, protocol=protocol, outcome=outcome)


def check_passive(
    make: Make,
    *,
    count: int = 1,
    grants: frozenset[str] | None = None,
    protocol: Protocol | None = None,
    size: Size = SMALL,
) -> None:
    """A training with BatchNorm and dropout is bit-identical with and without listeners.

    Weights, buffers, gradients, modes, random states, losses and messages are compared.

    Args:
        make: makes a listener.
        count: how many listen at once.
        grants: what they are granted; by default all that they can use.
        protocol: vanilla by default.
        size: how large the training is.
    """
    listeners = [make() for _ in range(count)]
    protocol = protocol or Vanilla()
    with Stream(7).scope():
        run = _run(protocol, size)
        held = granted(*listeners) if grants is None else grants
        heard = run_state(witness(run, listeners=listeners, grants=held))
    wrong = differences(_unheard(protocol, size), heard)
    name = type(listeners[0]).__name__
    assert not wrong, f"{name} is not passive: with it {wrong[:4]} differ"


@cache
def _unheard(protocol: Protocol, size: Size) -> dict[str, Any]:
    """The state of the run without listeners."""
    with Stream(7).scope():
        return run_state(witness(_run(protocol, size)))


def _run(protocol: Protocol, size: Size) -> Run:
    return seated(norm="batch", protocol=protocol, training=size.training, data=toys.split_of(size))


def check_determinism(make: Make, alone: Listened | None = None) -> None:
    """One seed gives one outcome, whatever state the global generators have; asking again, too.

    Args:
        make: makes a listener.
        alone: a listener that has listened already.
    """
    alone = alone or listened(make())
    again = listened(make(), protocol=alone.protocol, seed=101)
    name = type(alone.listener).__name__
    wrong = differences(alone.outcome, again.outcome)
    assert not wrong, f"{name} with one seed gives two outcomes: {wrong} differ"
    wrong = differences(again.outcome, tensors_of(outcome_of(again.listener, again.victim)))
    assert not wrong, f"{name} answers differently when asked again: {wrong} differ"


def check_alone_or_not(make: Make, other: Listener[Any], alone: Listened | None = None) -> None:
    """Other listeners make no difference, whatever they do with what they hear.

    Args:
        make: makes a listener.
        other: a listener beside it; a second one from `make` listens, too.
        alone: a listener that has listened alone already.
    """
    alone = alone or listened(make())
    among = listened(make(), beside=(other, make()), protocol=alone.protocol)
    wrong = differences(alone.outcome, among.outcome)
    name = type(alone.listener).__name__
    assert not wrong, f"{name} depends on what else listens: {wrong} differ"


def check_leaves_victim(make: Make, alone: Listened | None = None) -> None:
    """The attack leaves the victim bit-identical, also to one trained without the listener.

    Args:
        make: makes a listener.
        alone: a listener that has listened already.
    """
    alone = alone or listened(make())
    name = type(alone.listener).__name__
    before = victim_state(alone.victim)
    outcome_of(alone.listener, alone.victim)
    wrong = differences(before, victim_state(alone.victim))
    assert not wrong, f"{name} changes the victim: {wrong[:4]}"
    wrong = differences(before, victim_state(_without_listeners(alone.protocol)))
    assert not wrong, f"the victim is another with {name}: {wrong[:4]}"


@cache
def _without_listeners(protocol: Protocol) -> Victim:
    return toys.victim(norm="batch", protocol=protocol)


def check_non_interference(
    make: Make, *, protocol: Protocol | None = None, size: Size = SMALL
) -> None:
    """The outcome doesn't depend on anything that is neither granted nor heard, bit for bit.

    A listener listens in one world. In the second world, everything that its views don't hold is
    changed in place, and what was heard in the first world is played back to a new listener.

    Args:
        make: makes a listener.
        protocol: vanilla by default.
        size: how large the victim is.
    """
    listener, protocol = make(), protocol or Vanilla()
    recorder = recorder_for(listener)
    victim = toys.victim(
        norm="batch", protocol=protocol, size=size, listeners=[recorder, listener],
        grants=granted(listener),
    )  # fmt: skip
    first = first_world(listener, victim)
    with another_world(victim, granted(listener)) as other:
        fresh = make()
        run = seated(norm="batch", protocol=protocol, data=other.data, seed=4321)
        with blaming_secrets(fresh), Stream(99).scope():
            attached = replayed(recorder, fresh, run)
        other = replace(other, attached=(attached,), baseline_cache=dict(first.baselines))
        check_same_outcome(fresh, other, first)
