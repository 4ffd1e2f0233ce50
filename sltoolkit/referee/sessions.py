"""Attacks on a training begin when the first batch that they can use arrives.

Until then the harness has only what they hold beforehand. It then rehearses what they left open,
and opens them.
"""

from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor

from sltoolkit.adversary.training_rehearsal import tuned_hijacker, tuned_listener
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener, ListenerState
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import SpecError
from sltoolkit.parameters.grids import chosen
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, eq=False)
class _Begun:
    """An attack with no parameter open any more, and what it remembers."""

    attack: Listener[Any] | ActiveAttack[Any]
    state: ListenerState


def _finished(given: Listener[Any] | ActiveAttack[Any], begun: _Begun | None, view: Any) -> Outcome:
    """The outcome, with what was chosen in the rehearsal."""
    if begun is None:
        raise SpecError(
            f"{type(given).__name__} heard no batch to learn from: train the victim, or listen "
            "earlier"
        )
    return replace(begun.state.finish(view), tuned=chosen(given, begun.attack))


@final
class ListeningSession(ListenerState):
    """A listener's part in one run.

    Args:
        listener: as it was given, perhaps with open parameters.
        setup: what it has before the run.
        rng: the attacker's stream.
    """

    def __init__(self, listener: Listener[Any], setup: Any, rng: Stream) -> None:
        self._listener, self._setup, self._rng = listener, setup, rng
        self._begun: _Begun | None = None

    @property
    def state(self) -> ListenerState | None:
        """What the listener remembers; None before the first usable batch."""
        return None if self._begun is None else self._begun.state

    def hear(self, heard: BatchView) -> None:
        """Let it hear a usable batch."""
        if self._listener.usable(heard):
            self._begun = self._begun or self._begin(heard)
            self._begun.state.hear(heard)

    def _begin(self, first: BatchView) -> _Begun:
        rehearsal = self._rng.child("rehearsal")
        tuned = tuned_listener(self._listener, self._setup, first, rng=rehearsal)
        return _Begun(tuned, tuned.open(self._setup, first, rng=self._rng))

    def finish(self, view: Any) -> Outcome:
        """Its outcome, with what its rehearsal chose.

        Raises:
            SpecError: if it heard no usable batch.
        """
        return _finished(self._listener, self._begun, view)


@final
class HijackingSession(ListenerState):
    """A hijacker's part in one run, at a server.

    Args:
        attack: as it was given, perhaps with open parameters.
        honest: the party that it replaces.
        setup: what it has before the run.
        rng: the attacker's stream.
    """

    def __init__(self, attack: ActiveAttack[Any], honest: Stage, setup: Any, rng: Stream) -> None:
        self._attack, self._setup, self._rng = attack, setup, rng
        self._honest = self._party = honest
        self._begun: _Begun | None = None

    def party_for(self, received: Tensor) -> Stage:
        """The party that deals with a batch (B, ...): the hijacker's, if it can use it."""
        if not self._attack.usable(received):
            return self._honest
        if self._begun is None:
            self._begun = self._begin(received)
        return self._party

    def _begin(self, first: Tensor) -> _Begun:
        rehearsal = self._rng.child("rehearsal")
        tuned = tuned_hijacker(self._attack, self._setup, first, rng=rehearsal)
        with self._rng.scope():
            self._party, state = tuned.seize(self._honest, self._setup, first, rng=self._rng)
        return _Begun(tuned, state)

    def learn(self, learning: bool) -> None:
        """Tell the hijacker's party, if it is there already."""
        if self._begun is not None:
            self._party.learn(learning)

    def hear(self, heard: BatchView) -> None:
        """Let it hear a batch, once it has begun."""
        if self._begun is not None:
            self._begun.state.hear(heard)

    def finish(self, view: Any) -> Outcome:
        """Its outcome, with what its rehearsal chose.

        Raises:
            SpecError: if no usable batch arrived.
        """
        return _finished(self._attack, self._begun, view)


@final
class SeizedServer(Server):
    """A seat behind the cut, which a hijacker takes when it begins."""

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
    """A seat between head and tail, which a hijacker takes when it begins."""

    def __init__(self, session: HijackingSession, honest: Middle) -> None:
        self._session, self._now = session, honest

    def learn(self, learning: bool) -> None:
        """Train or stand still, as the hijacker pleases."""
        self._session.learn(learning)

    def forward(self, received: Tensor) -> Tensor:
        """What is sent on, (B, ...)."""
        party = self._session.party_for(received)
        if not isinstance(party, Middle):
            raise SpecError(f"a Middle must replace a Middle, got {type(party).__name__}")
        self._now = party
        return party.forward(received)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that is sent back, (B, ...)."""
        return self._now.backward(grad)
