"""When attacks on a training begin, what they hear from then on, and what the outcome records."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import (
    ActiveAttack,
    BatchView,
    Family,
    Listener,
    ListenerState,
    Role,
)
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.parties.honest import HonestMiddle, HonestServer
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.referee import sessions
from sltoolkit.referee.sessions import (
    HijackingSession,
    ListeningSession,
    SeizedMiddle,
    SeizedServer,
)
from sltoolkit.streams import Stream

RATE = Annotated[float | None, Parameter("a rate", above=0, grid=(0.1, 0.2))]


@final
class Memory(ListenerState):
    def __init__(self, opened_on: Any) -> None:
        self.opened_on, self.heard = opened_on, list[BatchView]()

    def hear(self, heard: BatchView) -> None:
        self.heard.append(heard)

    def finish(self, view: Any) -> Outcome:
        return Outcome(diagnostics={"heard": float(len(self.heard))})


@final
@dataclass(frozen=True, kw_only=True)
class Odd(Listener[None]):
    """A listener that can use the batches with odd step numbers."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"

    rate: RATE = None

    def usable(self, heard: BatchView, before: int) -> bool:
        return heard.step % 2 == 1

    def open(self, setup: None, first: BatchView, *, rng: Stream) -> ListenerState:
        assert self.rate is not None
        return Memory(first)


@dataclass(frozen=True, kw_only=True)
class Taker(ActiveAttack[None]):
    """A hijacker whose party answers with sevens."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"

    rate: RATE = 0.1
    party: type[Stage] | None = None
    seized: list[Tensor] = field(default_factory=list)

    def seize(
        self, honest: Stage, setup: None, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        self.seized.append(first)
        kind = SevenMiddle if isinstance(honest, Middle) else SevenServer
        return (self.party or kind)(), Memory(first)


@final
class SevenServer(Server):
    def learn(self, learning: bool) -> None:
        """Nothing to do."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        return torch.full_like(smashed, 7.0)


@final
class SevenMiddle(Middle):
    def learn(self, learning: bool) -> None:
        """Nothing to do."""

    def forward(self, received: Tensor) -> Tensor:
        return received + 7

    def backward(self, grad: Tensor) -> Tensor:
        return torch.full_like(grad, 7.0)


def batch(step: int) -> BatchView:
    return BatchView(messages={}, ids=torch.arange(3), step=step, epoch=0, network=None)


def test_a_listener_opens_on_its_first_usable_batch_and_hears_no_unusable_one() -> None:
    session = ListeningSession(Odd(rate=0.3), None, Stream(0))
    session.hear(batch(0))
    with pytest.raises(SpecError, match="heard no batch"):
        session.state  # noqa: B018
    with pytest.raises(SpecError, match="Odd heard no batch to learn from: train the victim"):
        session.finish(None)
    batches = [batch(step) for step in range(1, 6)]
    for heard in batches:
        session.hear(heard)
    assert isinstance(session.state, Memory)
    assert session.state.opened_on is batches[0]
    assert session.state.heard == batches[::2]
    assert session.finish(None).tuned == {}


@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_what_a_rehearsal_chose_is_recorded(rate: float) -> None:
    session = ListeningSession(Odd(), None, Stream(0))
    with mock.patch.object(sessions, "tuned_listener", return_value=Odd(rate=rate)) as tuned:
        for step in range(4):
            session.hear(batch(step))
    tuned.assert_called_once()
    outcome = session.finish(None)
    assert outcome.tuned == {"rate": rate}
    assert outcome.diagnostics == {"heard": 2.0}


def honest_server() -> HonestServer:
    return HonestServer(nn.Linear(2, 2), None, Stream(0))


def test_the_honest_party_deals_with_what_a_hijacker_cannot_use() -> None:
    taker = Taker()
    session = HijackingSession(taker, honest_server(), None, Stream(0))
    seat, empty = SeizedServer(session), torch.zeros(0, 2)
    y = torch.zeros(3, dtype=torch.int64)
    session.hear(batch(0))
    assert torch.equal(seat.step(empty, y[:0]), empty)
    assert taker.seized == []
    with pytest.raises(SpecError, match="Taker heard no batch"):
        session.finish(None)
    first = torch.ones(3, 2)
    for z in (first, empty, first + 1):
        assert torch.equal(seat.step(z, y[: len(z)]), torch.full_like(z, 7.0))
        session.hear(batch(1))
    assert len(taker.seized) == 1
    assert taker.seized[0] is first
    assert session.finish(None).diagnostics == {"heard": 3.0}


def test_a_seat_between_head_and_tail_is_taken_as_a_whole_batch() -> None:
    honest = HonestMiddle(nn.Identity(), None, Stream(0))
    seat = SeizedMiddle(HijackingSession(Taker(), honest, None, Stream(0)), honest)
    empty, z = torch.zeros(0, 2), torch.ones(3, 2)
    for received, sent in ((empty, empty), (z, z + 7), (empty, empty)):
        assert torch.equal(seat.forward(received), sent)
        assert torch.equal(seat.backward(torch.zeros_like(sent)), torch.full_like(sent, 7.0))


def test_a_party_of_another_kind_is_refused() -> None:
    y = torch.zeros(3, dtype=torch.int64)
    server = HijackingSession(Taker(party=SevenMiddle), honest_server(), None, Stream(0))
    with pytest.raises(SpecError, match="a Server must replace a Server, got SevenMiddle"):
        SeizedServer(server).step(torch.ones(3, 2), y)
    honest = HonestMiddle(nn.Identity(), None, Stream(0))
    middle = HijackingSession(Taker(party=SevenServer), honest, None, Stream(0))
    with pytest.raises(SpecError, match="a Middle must replace a Middle, got SevenServer"):
        SeizedMiddle(middle, honest).forward(torch.ones(3, 2))


def test_what_a_hijackers_rehearsal_chose_is_recorded() -> None:
    session = HijackingSession(Taker(rate=None), honest_server(), None, Stream(0))
    with mock.patch.object(sessions, "tuned_hijacker", return_value=Taker(rate=0.2)) as tuned:
        for _ in range(2):
            SeizedServer(session).step(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))
    tuned.assert_called_once()
    assert session.finish(None).tuned == {"rate": 0.2}
