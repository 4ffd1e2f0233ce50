"""The checks of an attack's outcome on a victim; each raises an `AssertionError` in a sentence.

They apply to an attack after the fact on any victim, and to an attack on a training with the victim
of that training.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.streams import Stream
from sltoolkit.testing.judging import granted, outcome_of
from sltoolkit.testing.other_world import Heard, another_world, asked_about
from sltoolkit.testing.states import differences, tensors_of, victim_state
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FirstWorld:
    """An attack's run on a victim, to be compared with further runs.

    Attributes:
        outcome: everything that the attack handed back, by name.
        heard: what the victim let out about its secrets.
        kept: what the attack's class and module held before the run.
        changed: names of what changed in the victim during the run.
        baselines: the victim's cached baselines before the run, so that a further run computes the
            same baselines.
    """

    outcome: dict[str, Any]
    heard: Heard
    kept: dict[str, Any]
    changed: list[str]
    baselines: dict[Any, Any]


def first_world(attack: AnyAttack, victim: Victim) -> FirstWorld:
    """Run an attack on a victim, and record what the victim lets out."""
    kept, before, heard = _kept(attack), victim_state(victim), Heard()
    baselines = dict(victim.baseline_cache)
    with asked_about(victim).by_referee(), heard.recorded(), Stream(100).scope():
        outcome = tensors_of(outcome_of(attack, victim))
    changed = differences(before, victim_state(victim))
    return FirstWorld(outcome=outcome, heard=heard, kept=kept, changed=changed, baselines=baselines)


def check_determinism(attack: AnyAttack, victim: Victim, first: FirstWorld | None = None) -> None:
    """One seed gives one outcome, whatever state the global generators have and what ran before.

    Args:
        attack: the attack that is checked.
        victim: the victim.
        first: the attack's first run, if there was one already.
    """
    name = type(attack).__name__
    first = first or first_world(attack, victim)
    with Stream(101).scope():  # another state of the global generators
        again = tensors_of(outcome_of(attack, victim))
    wrong = differences(first.outcome, again)
    assert not wrong, f"{name} with one seed gives two outcomes: {wrong} differ"
    kept = _kept(attack)
    wrong = sorted(k for k in first.kept.keys() | kept.keys() if first.kept.get(k) != kept.get(k))
    assert not wrong, f"{name} keeps something between runs outside its outcome: {wrong}"


def check_leaves_victim(attack: AnyAttack, victim: Victim, first: FirstWorld | None = None) -> None:
    """An attack leaves the victim bit-identical: weights, buffers, gradients, modes, data, records.

    Args:
        attack: the attack that is checked.
        victim: the victim.
        first: the attack's first run, if there was one already.
    """
    wrong = (first or first_world(attack, victim)).changed
    assert not wrong, f"{type(attack).__name__} changes the victim: {wrong[:4]}"


def check_non_interference(
    attack: AnyAttack, victim: Victim, first: FirstWorld | None = None
) -> None:
    """The outcome doesn't depend on anything that is not granted, bit for bit.

    The attack runs in two worlds. In the second, everything that its view doesn't hold is changed
    *in place* (so that no reference leads to the first world): inputs, ungranted labels, networks
    and aux samples, the victim's random streams, and the state of the global generators. What the
    view does hold is the same; the deployed client's answers and the updates that were heard are
    played back.

    Args:
        attack: the attack that is checked.
        victim: the victim.
        first: the attack's run in the first world, if there was one already.
    """
    first = first or first_world(attack, victim)
    with another_world(victim, granted(attack)) as other:
        check_same_outcome(attack, replace(other, baseline_cache=dict(first.baselines)), first)


def check_same_outcome(attack: AnyAttack, other: Victim, first: FirstWorld) -> None:
    """The outcome is the same in another world, where the attack hears what it heard before."""
    name = type(attack).__name__
    # another state of the global generators, as if another attack had run before
    with blaming_secrets(attack), first.heard.played_back(), Stream(99).scope():
        there = tensors_of(outcome_of(attack, other))
    wrong = differences(first.outcome, there)
    assert not wrong, f"{name} depends on what it was not granted: {wrong} differ"


@contextmanager
def blaming_secrets(attack: AnyAttack) -> Iterator[None]:
    """Blame secrets for an error in the body, because the first world raised none."""
    try:
        yield
    except Exception as e:
        name = type(attack).__name__
        raise AssertionError(f"{name} depends on what it was not granted: {e!r}") from e


def _kept(attack: Any) -> dict[str, Any]:
    """What an attack's class and module hold: sizes of collections, identities of other values."""
    module = sys.modules.get(type(attack).__module__)
    held = {
        **(vars(module) if module else {}),
        **{f"{type(attack).__name__}.{k}": v for k, v in vars(type(attack)).items()},
    }
    return {
        k: len(v) if isinstance(v, list | dict | set) else id(v)
        for k, v in held.items() if not k.startswith("__")
    }  # fmt: skip
