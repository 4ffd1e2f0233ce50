"""Sessions: the part of a listener or a hijacker in one run.

An attack on a training waits until the first batch that it can use arrives. The session then
rehearses its open parameters and lets it begin.
"""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, final

from torch import Tensor

from sltoolkit.adversary.training_rehearsal import tuned_hijacker, tuned_listener
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener, ListenerState
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import SpecError
from sltoolkit.parameters.grids import chosen
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.streams import Stream

A = TypeVar("A", Listener[Any], ActiveAttack[Any])


@final
@dataclass(frozen=True, eq=False)
class _Waiting(Generic[A]):
    """An attack before its first usable batch: as given, with what it gets before the run."""

    given: A
    setup: Any
    rng: Stream

    @property
    def state(self) -> ListenerState:
        """Always an error, because a waiting attack has no state.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"{type(self.given).__name__} heard no batch to learn from: train the victim, or "
            "listen earlier"
        )

    def finish(self, view: Any) -> Outcome:
        """Always an error, because a waiting attack has no outcome.

        Raises:
            SpecError: always.
        """
        return self.state.finish(view)


@final
@dataclass(frozen=True, eq=False)
class _Begun(Generic[A]):
    """An attack whose parameters are all chosen, and what it remembers."""

    given: A
    tuned: A
    state: ListenerState

    def finish(self, view: Any) -> Outcome:
        """The outcome, with the parameters that the rehearsal chose."""
        return replace(self.state.finish(view), tuned=chosen(self.given, self.tuned))


@final
class ListeningSession(ListenerState):
    """A listener's part in one run.

    Args:
        listener: the listener as given, perhaps with open parameters.
        setup: what it gets before the run.
        rng: the attacker's stream.
    """

    def __init__(self, listener: Listener[Any], setup: Any, rng: Stream) -> None:
        self._listener, self._before = listener, 0
        self._now: _Waiting[Listener[Any]] | _Begun[Listener[Any]] = _Waiting(listener, setup, rng)

    @property
    def state(self) -> ListenerState:
        """What the listener remembers.

        Raises:
            SpecError: before the first usable batch.
        """
        return self._now.state

    def hear(self, heard: BatchView) -> None:
        """Let the listener hear the batch if it can use it."""
        if self._listener.usable(heard, self._before):
            if isinstance(self._now, _Waiting):
                self._now = _opened(self._now, heard)
            self._now.state.hear(heard)
        self._before += 1

    def finish(self, view: Any) -> Outcome:
        """The outcome, with the parameters that the rehearsal chose.

        Raises:
            SpecError: if no usable batch was heard.
        """
        return self._now.finish(view)


def _opened(waiting: _Waiting[Listener[Any]], first: BatchView) -> _Begun[Listener[Any]]:
    given, setup, rng = waiting.given, waiting.setup, waiting.rng
    tuned = tuned_listener(given, setup, first, rng=rng.child("rehearsal"))
    return _Begun(given, tuned, tuned.open(setup, first, rng=rng))


@final
class HijackingSession(ListenerState):
    """A hijacker's part in one run, in a server's seat.

    Args:
        attack: the attack as given, perhaps with open parameters.
        honest: the party that it replaces.
        setup: what it gets before the run.
        rng: the attacker's stream.
    """

    def __init__(self, attack: ActiveAttack[Any], honest: Stage, setup: Any, rng: Stream) -> None:
        self._attack = attack
        self._honest = self._party = honest
        self._now: _Waiting[ActiveAttack[Any]] | _Begun[ActiveAttack[Any]]
        self._now = _Waiting(attack, setup, rng)

    def party_for(self, received: Tensor) -> Stage:
        """The party for a batch (B, ...): the hijacker's if it can use the batch, else the honest.

        The first usable batch lets the hijacker rehearse and begin.
        """
        if not self._attack.usable(received):
            return self._honest
        if isinstance(self._now, _Waiting):
            self._now = self._seized(self._now, received)
        return self._party

    def _seized(
        self, waiting: _Waiting[ActiveAttack[Any]], first: Tensor
    ) -> _Begun[ActiveAttack[Any]]:
        given, setup, rng = waiting.given, waiting.setup, waiting.rng
        tuned = tuned_hijacker(given, setup, first, rng=rng.child("rehearsal"))
        with rng.scope():
            self._party, state = tuned.seize(self._honest, setup, first, rng=rng)
        return _Begun(given, tuned, state)

    def learn(self, learning: bool) -> None:
        """Switch learning on or off in the hijacker's party, once it has begun."""
        if isinstance(self._now, _Begun):
            self._party.learn(learning)

    def hear(self, heard: BatchView) -> None:
        """Let the hijacker hear a batch, once it has begun."""
        if isinstance(self._now, _Begun):
            self._now.state.hear(heard)

    def finish(self, view: Any) -> Outcome:
        """The outcome, with the parameters that the rehearsal chose.

        Raises:
            SpecError: if no usable batch arrived.
        """
        return self._now.finish(view)


@final
class SeizedServer(Server):
    """The seat behind the cut, which the hijacker takes over when it begins."""

    def __init__(self, session: HijackingSession) -> None:
        self._session = session

    def learn(self, learning: bool) -> None:
        """Train or stand still, as the hijacker pleases."""
        self._session.learn(learning)

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that is sent back, (B, ...)."""
        party = self._session.party_for(smashed)
        if not isinstance(party, Server):
            raise SpecError(f"a Server must replace a Server, got {type(party).__name__}")
        return party.step(smashed, labels)


@final
class SeizedMiddle(Middle):
    """The seat between head and tail, which the hijacker takes over when it begins."""

    def __init__(self, session: HijackingSession, honest: Middle) -> None:
        self._session, self._current = session, honest

    def learn(self, learning: bool) -> None:
        """Train or stand still, as the hijacker pleases."""
        self._session.learn(learning)

    def forward(self, received: Tensor) -> Tensor:
        """What is sent on, (B, ...)."""
        party = self._session.party_for(received)
        if not isinstance(party, Middle):
            raise SpecError(f"a Middle must replace a Middle, got {type(party).__name__}")
        self._current = party
        return party.forward(received)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that is sent back, (B, ...)."""
        return self._current.backward(grad)
