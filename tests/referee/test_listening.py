"""Listeners hear each batch by itself, also where clients compute together."""

from typing import Any, final

import pytest
import torch
from support.tiny import SGD
from support.tiny import data as tiny_data
from support.vmapped import PROTOCOLS, play

from sltoolkit.contracts.attack import BatchView, ListenerState
from sltoolkit.protocols import BlindLearning, Protocol
from sltoolkit.referee.listening import ListenerEar
from sltoolkit.streams import Stream
from sltoolkit.training.victim import AttachedListener

pytestmark = pytest.mark.golden


@final
class Note(ListenerState):
    """A listener that only keeps what it hears."""

    def __init__(self) -> None:
        self.rounds: list[BatchView] = []

    def hear(self, heard: BatchView) -> None:
        self.rounds.append(heard)

    def finish(self, view: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("protocol", [*PROTOCOLS, BlindLearning(clients=3)], ids=str)
def test_a_listener_hears_each_batch_by_itself(protocol: Protocol) -> None:
    note = Note()
    attached = AttachedListener(
        attack=None,
        role="server",
        grants=frozenset(),
        listener_state=note,
        rng=Stream(1),
    )
    _, log, _ = play(protocol, SGD, tiny_data(), ears=[ListenerEar(attached, "server")])
    for kind, way, src in (("smashed", "in", "client"), ("smashed_grad", "out", "server")):
        heard = {(r.step, *r.ids.tolist()): r.messages[kind, way] for r in note.rounds}  # type: ignore[index]
        sent = {(m.turn.step, *m.turn.ids.tolist()): m.payload for m in log.sent(kind, src)}
        assert heard.keys() == sent.keys()
        assert all(torch.equal(heard[batch], sent[batch]) for batch in sent)
