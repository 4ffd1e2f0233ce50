"""What every listener must keep to; each check raises an AssertionError that is a sentence."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final
from unittest import mock

import torch
from support.toys import differences, victim_state
from support.toys import victim as trained
from torch import Tensor, nn

from contract import attack_checks as checks
from contract.worlds import Answers, Selected, another_world, selected
from sltoolkit.contracts.attack import BatchView, Listener, ListenerState
from sltoolkit.contracts.grants import needs, view_of
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.referee import listening as taps
from sltoolkit.referee.sessions import ListeningSession
from sltoolkit.referee.sources import knowledge_sources
from sltoolkit.streams import Stream
from sltoolkit.training.victim import AttachedListener, Victim

Make = Callable[[], Listener[Any]]


def grants_of(listener: Listener[Any]) -> frozenset[str]:
    """All that its two views can hold."""
    required, usable = needs(listener.setup)
    return required | usable | checks.everything(listener)


@final
@dataclass(kw_only=True, eq=False)
class Tape(ListenerState):
    """Records what a listener state hears, as plain bytes, before it hears it."""

    inner: ListenerState
    rounds: list[Callable[[nn.Module], BatchView]] = field(default_factory=list)

    def hear(self, heard: BatchView) -> None:
        """Record it, and pass it on."""
        self.rounds.append(_recorded(heard))
        self.inner.hear(heard)

    def finish(self, view: Any) -> Outcome:
        """Pass it on."""
        return self.inner.finish(view)


def _recorded(heard: BatchView) -> Callable[[nn.Module], BatchView]:
    """From the seat's replica, which is one object throughout, to a batch as it was heard."""
    messages = {key: _kept(t) for key, t in heard.messages.items()}
    ids, step, epoch = _kept(heard.ids), heard.step, heard.epoch
    state = None
    if heard.network is not None:
        state = {name: _kept(t) for name, t in heard.network().state_dict().items()}

    def again(replica: nn.Module) -> BatchView:
        def network() -> nn.Module:
            replica.load_state_dict({name: t() for name, t in (state or {}).items()})
            return replica.eval().requires_grad_(False)

        return BatchView(
            messages={key: t() for key, t in messages.items()}, ids=ids(), step=step,
            epoch=epoch, network=None if state is None else network,
        )  # fmt: skip

    return again


def _kept(t: Tensor) -> Callable[[], Tensor]:
    """A tensor as bytes: nothing that an attack finds in memory is one of the first world."""
    content, dtype, shape = t.detach().numpy().tobytes(), t.dtype, t.shape
    if not content:
        return lambda: torch.empty(shape, dtype=dtype)
    return lambda: torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


@contextmanager
def taping() -> Iterator[list[Tape]]:
    """Every listener state that is opened meanwhile is taped."""
    tapes: list[Tape] = []

    def taped(**options: Any) -> AttachedListener:
        tapes.append(Tape(inner=options["listener_state"]))
        return AttachedListener(**(options | {"listener_state": tapes[-1]}))

    with mock.patch.object(taps, "AttachedListener", taped):
        yield tapes


def listened(
    listener: Listener[Any], *, beside: tuple[Listener[Any], ...] = ()
) -> tuple[Victim, Outcome]:
    """Train the toy with it, and let it attack."""
    grants = frozenset().union(*(grants_of(x) for x in (listener, *beside)))
    victim = trained(norm="batch", listeners=[*beside, listener], grants=grants)
    return victim, finished(victim, listener)


def finished(victim: Victim, listener: Listener[Any]) -> Outcome:
    """The outcome of one that listened to this victim's training."""
    attached = next(t for t in victim.attached if t.attack is listener)
    view = checks.view_for(listener, victim, selected(victim), Stream(8).child("noise"))
    with attached.rng.fresh("finish").scope():
        return attached.listener_state.finish(view)


def check_determinism(make: Make) -> None:
    """One seed, one outcome: whatever the global generators hold, and however often it is asked."""
    outcomes = []
    for i in range(2):
        with Stream(100 + i).scope():
            listener = make()
            victim, outcome = listened(listener)
            outcomes.append(checks.tensors_of(outcome))
    name = type(listener).__name__
    wrong = differences(*outcomes)
    assert not wrong, f"{name} with one seed gives two outcomes: {wrong} differ"
    wrong = differences(outcomes[-1], checks.tensors_of(finished(victim, listener)))
    assert not wrong, f"{name} answers differently when asked again: {wrong} differ"


def check_alone_or_not(make: Make, other: Listener[Any]) -> None:
    """Who else listens, and whatever they do with what they hear, makes no difference."""
    alone = checks.tensors_of(listened(make())[1])
    wrong = differences(alone, checks.tensors_of(listened(make(), beside=(other, make()))[1]))
    assert not wrong, f"{type(make()).__name__} depends on who else listens: {wrong} differ"


def check_leaves_victim(make: Make) -> None:
    """Its attack leaves the trained victim bit-identical, and as without it."""
    listener = make()
    name = type(listener).__name__
    victim, _ = listened(listener)
    before = victim_state(victim)
    finished(victim, listener)
    wrong = differences(before, victim_state(victim))
    assert not wrong, f"{name} changes the victim: {wrong[:4]}"
    wrong = differences(before, victim_state(trained(norm="batch")))
    assert not wrong, f"the victim is another with {name}: {wrong[:4]}"


def check_non_interference(make: Make) -> None:
    """Whatever is not granted and not heard may be anything: the outcome is bit-identical.

    It listens in one world. In the second, everything that its views don't hold is different, in
    place, and what it heard in the first is played back to a fresh ear.
    """
    listener = make()
    name = type(listener).__name__
    answers = Answers()
    grants = grants_of(listener)
    with taping() as tapes:
        victim = trained(norm="batch", listeners=[listener], grants=grants)
    with answers.recorded():
        here = checks.tensors_of(finished(victim, listener))
    rounds, chosen = tapes[0].rounds, selected(victim)
    with another_world(victim, grants, chosen) as other:
        try:
            with answers.played_back(), Stream(99).scope():
                there = checks.tensors_of(_played(make(), other, chosen, rounds))
        except Exception as e:
            raise AssertionError(f"{name} depends on what it was not granted: {e!r}") from e
    wrong = differences(here, there)
    assert not wrong, f"{name} depends on what it was not granted: {wrong} differ"


def _played(
    listener: Listener[Any],
    victim: Victim,
    chosen: Selected,
    rounds: list[Callable[[nn.Module], BatchView]],
) -> Outcome:
    """A fresh ear hears the recorded batches, in another victim's world."""
    sources = knowledge_sources(
        victim.data, victim.task, victim.client.client, victim.configured_defense, victim.rng
    )
    required, usable = needs(listener.setup)
    setup: Any = view_of(listener.setup, required | (usable & set(sources)), sources)
    rng = Stream(0).child("attacker").fresh(type(listener).__name__)
    tap = ListeningSession(listener, setup, rng)
    replica = copy.deepcopy(victim.server)
    for again in rounds:
        heard = again(replica)
        with rng.scope():
            tap.hear(heard)
    view = checks.view_for(listener, victim, chosen, Stream(9).child("other noise"))
    with rng.fresh("finish").scope():
        return tap.finish(view)
