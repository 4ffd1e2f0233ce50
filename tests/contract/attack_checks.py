"""What every attack must keep to; each check raises an AssertionError that is a sentence."""

import copy
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any
from unittest import mock

from support.toys import TARGETS, differences, run_state, seated, victim_state, witness
from torch import Tensor, nn

from contract.worlds import Answers, Selected, another_world, selected
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.contracts.attack import AnyAttack, Attack, Listener, Role
from sltoolkit.contracts.grants import needs, permitted, view_of
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import ThreatModelError
from sltoolkit.protocols import Protocol
from sltoolkit.referee.mount import mount_in
from sltoolkit.referee.sources import trained_sources
from sltoolkit.referee.truth import Asked
from sltoolkit.referee.updates import released_updates
from sltoolkit.rows.names import parameters_json
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim


def check_default_constructible(kind: type) -> None:
    """It can be made without arguments, is frozen, and has a smallest setting."""
    attack = kind()
    params = getattr(kind, "__dataclass_params__", None)
    name = kind.__name__
    assert params is not None, f"{name} is no dataclass of hyper-parameters"
    assert params.frozen, f"{name} is not frozen: it could carry state from run to run"
    assert isinstance(attack.smoke(), kind), f"{name}.smoke() is no {name}"
    parameters_json(attack)


def check_citation(plugin: Any) -> None:
    """It says which paper it comes from, with the year."""
    text = type(plugin).citation
    assert re.search(r"\b(19|20)\d\d\b", text), (
        f"{type(plugin).__name__} cites no paper with a year"
    )


def check_refusal(attack: AnyAttack) -> None:
    """Without any one of the grants it needs it is refused, in a sentence that names it."""
    name = type(attack).__name__
    assert needs(attack.view)[0], f"{name} needs no grant at all: it can't have heard anything"
    for view in views_of(attack):
        required, _ = needs(view)
        for missing in sorted(required):
            held = required - {missing}
            try:
                permitted(view, name=name, role="server", held=held, granted=())
            except ThreatModelError as refusal:
                said = str(refusal)
                assert {name, missing} <= set(re.findall(r"\w+", said)), f"unclear refusal: {said}"
            else:
                raise AssertionError(f"{name} is not refused without {missing}")


def check_frozen_view(attack: AnyAttack) -> None:
    """Its views are frozen dataclasses whose every field is a grant."""
    for view in views_of(attack):
        try:
            needs(view)
        except ThreatModelError as refusal:
            raise AssertionError(str(refusal)) from refusal


def views_of(attack: AnyAttack) -> tuple[type, ...]:
    """What it sees in the end and, where it is there before the training, at the beginning."""
    return (attack.view,) if isinstance(attack, Attack) else (attack.view, attack.setup)


def seat_of(attack: AnyAttack, victim: Victim) -> Role:
    """The first of its roles that the victim's protocol seats."""
    return next(role for role in attack.roles if role in victim.protocol.seats)


def everything(attack: AnyAttack) -> frozenset[str]:
    """All grants that its view can hold."""
    required, usable = needs(attack.view)
    return required | usable


def view_for(attack: AnyAttack, victim: Victim, chosen: Selected, noise: Stream) -> Any:
    """The attack's view with every grant it can use, filled by the referee's own sources."""
    granted = everything(attack)
    mount = mount_in(victim.protocol, seat_of(attack, victim), filled=granted, granted=granted)
    records = chosen.images if attack.family == "reconstruction" else chosen.known
    asked = Asked(records=records, labeled=chosen.known, hinted=chosen.hinted, targets=TARGETS)
    return view_of(attack.view, granted, trained_sources(victim, asked, mount, noise))


def attacked(attack: Attack[Any], view: Any, *, seed: int = 3) -> Outcome:
    """Run it as the referee does."""
    rng = Stream(seed).child("attacker").fresh(type(attack).__name__)
    with rng.scope():
        return rehearsed(attack, view, rng=rng)


def tensors_of(outcome: Outcome) -> dict[str, Any]:
    """Everything an outcome holds, by name."""
    found: dict[str, Any] = {}
    for f in fields(outcome):
        value = getattr(outcome, f.name)
        if isinstance(value, nn.Module):
            found |= {f"{f.name}.{n}": t for n, t in value.state_dict().items()}
        elif f.name == "trace":
            found |= {f"trace.{step}": images for step, images in value.items()}
        else:
            found[f.name] = dict(value) if isinstance(value, Mapping) else value
    return found


def check_determinism(attack: Attack[Any], victim: Victim) -> None:
    """One seed, one outcome: whatever the global generators held, and whatever ran before."""
    name = type(attack).__name__
    outcomes = []
    kept = _kept(attack)
    for i in range(2):
        with Stream(100 + i).scope():  # another state of the global generators
            view = view_for(attack, victim, selected(victim), Stream(8).child("noise"))
            outcomes.append(tensors_of(attacked(attack, view)))
    wrong = differences(*outcomes)
    assert not wrong, f"{name} with one seed gives two outcomes: {wrong} differ"
    assert kept == _kept(attack), f"{name} keeps something between runs outside its outcome"


def check_leaves_victim(attack: Attack[Any], victim: Victim, view: Any | None = None) -> None:
    """Afterwards the victim is bit-identical: weights, buffers, gradients, modes, data, records."""
    if view is None:
        view = view_for(attack, victim, selected(victim), Stream(8).child("noise"))
    before = victim_state(victim)
    attacked(attack, view)
    wrong = differences(before, victim_state(victim))
    assert not wrong, f"{type(attack).__name__} changes the victim: {wrong[:4]}"


def check_non_interference(attack: Attack[Any], victim: Victim) -> None:
    """Whatever is not granted may be anything: the outcome is bit-identical.

    The attack runs in two worlds. In the second, everything that its view doesn't hold is
    different, *in place* (so that no reference anywhere still leads to the first world): inputs,
    ungranted labels, networks and aux samples, the victim's random streams, and another attack ran
    before. What the view does hold is the same; the deployed client's answers and the updates that
    were heard are played back.
    """
    name = type(attack).__name__
    chosen = selected(victim)
    answers = Answers()
    updates: list[Any] = []

    def hear(*asked: Any) -> Any:
        updates.append(released_updates(*asked))
        return copy.deepcopy(updates[0])

    def hear_again(*_: Any) -> Any:
        return updates.pop()

    with (
        answers.recorded(),
        mock.patch("sltoolkit.referee.sources.released_updates", hear),
    ):
        view = view_for(attack, victim, chosen, Stream(8).child("noise"))
        here = tensors_of(attacked(attack, view))
    del view
    with another_world(victim, everything(attack), chosen) as other:
        try:
            # another state of the global generators: somebody else ran before
            with (
                answers.played_back(),
                mock.patch("sltoolkit.referee.sources.released_updates", hear_again),
                Stream(99).scope(),
            ):
                view = view_for(attack, other, chosen, Stream(9).child("other noise"))
                there = tensors_of(attacked(attack, view))
        except Exception as e:
            raise AssertionError(f"{name} depends on what it was not granted: {e!r}") from e
    wrong = differences(here, there)
    assert not wrong, f"{name} depends on what it was not granted: {wrong} differ"


def _kept(attack: Any) -> dict[str, Any]:
    """What an attack's class and module hold: sizes of collections, identities of the rest."""
    module = sys.modules[type(attack).__module__]
    held = {
        **vars(module),
        **{f"{type(attack).__name__}.{k}": v for k, v in vars(type(attack)).items()},
    }
    return {
        k: len(v) if isinstance(v, list | dict | set) else id(v)
        for k, v in held.items() if not k.startswith("__")
    }  # fmt: skip


def check_passive(
    make: Callable[[], Listener[Any]],
    *,
    count: int = 1,
    grants: frozenset[str] | None = None,
    protocol: Protocol | None = None,
) -> None:
    """A training with BatchNorm and dropout is bit-identical with nobody listening and with many.

    Weights, buffers, gradients, modes, random states, losses and messages are compared.
    """
    listeners = [make() for _ in range(count)]
    needed: frozenset[str] = frozenset().union(
        *(everything(x) | needs(x.setup)[0] | needs(x.setup)[1] for x in listeners)
    )
    granted = needed if grants is None else grants
    alone = run_state(witness(seated(norm="batch", protocol=protocol)))
    heard = run_state(
        witness(seated(norm="batch", protocol=protocol), listeners=listeners, grants=granted)
    )
    wrong = differences(alone, heard)
    name = type(listeners[0]).__name__
    assert not wrong, f"{name} is not passive: with it {wrong[:4]} differ"


def overwrite(value: Any) -> None:
    """Write over what a grant holds, as a careless (or malicious) attack would."""
    if isinstance(value, Tensor):
        value.zero_()
    elif isinstance(value, Mapping):
        for each in value.values():
            overwrite(each)
    elif isinstance(value, nn.Module):
        for t in value.state_dict().values():
            t.zero_()
        value.train().requires_grad_(True)
    else:
        for f in fields(value):
            overwrite(getattr(value, f.name))


def duplicate(victim: Victim) -> Victim:
    """A victim for tests that want to break one."""
    return replace(
        victim, deployed=tuple(copy.deepcopy(m) for m in victim.deployed),
        server=copy.deepcopy(victim.server),
    )  # fmt: skip
