"""A listener that records what its seat hears, to be played back to another listener."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.referee.listening import open_listener
from sltoolkit.streams import Stream
from sltoolkit.testing.judging import granted
from sltoolkit.training.run import Run
from sltoolkit.training.victim import AttachedListener
from sltoolkit.wire.message import Kind, Message, Seat
from sltoolkit.wire.turn import Turn

_Stored = Callable[[], Tensor]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Public:
    """A view that holds only what everybody knows."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedBatch:
    """A batch as a seat heard it, stored as plain bytes so that memory holds no tensor of it.

    Attributes:
        messages: payloads by kind and direction.
        ids: the samples' ids, (B,).
        step, epoch: when the batch was heard.
        network: the state of the seat's network then, by tensor names; None if it has no network.
    """

    messages: Mapping[tuple[Kind, Literal["in", "out"]], _Stored]
    ids: _Stored
    step: int
    epoch: int
    network: Mapping[str, _Stored] | None


class Recorder(Listener[Public]):
    """Records every batch.

    Attributes:
        batches: the batches that were heard, in order.
    """

    batches: list[RecordedBatch]


def recorder_for(listener: Listener[Any]) -> Recorder:
    """A recorder for the seat that a listener takes."""

    @dataclass(frozen=True, kw_only=True, eq=False)
    class RecorderThere(Recorder):
        roles: ClassVar[tuple[Role, ...]] = listener.roles
        family: ClassVar[Family] = listener.family
        setup: ClassVar[type] = Public
        view: ClassVar[type] = listener.view
        citation: ClassVar[str] = "none"

        batches: list[RecordedBatch] = field(default_factory=list)

        def attribute(self, y: Tensor) -> Tensor | None:
            return listener.attribute(y)

        def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
            return _Recording(self.batches)

    return RecorderThere()


@final
class _Recording(ListenerState):
    def __init__(self, batches: list[RecordedBatch]) -> None:
        self.batches = batches

    def hear(self, heard: BatchView) -> None:
        state = None if heard.network is None else heard.network().state_dict()
        self.batches.append(
            RecordedBatch(
                messages={key: _stored(t) for key, t in heard.messages.items()},
                ids=_stored(heard.ids), step=heard.step, epoch=heard.epoch,
                network=None if state is None else {n: _stored(t) for n, t in state.items()},
            )
        )  # fmt: skip

    def finish(self, view: Any) -> Outcome:
        return Outcome()


def _stored(t: Tensor) -> _Stored:
    content, dtype, shape = t.detach().numpy().tobytes(), t.dtype, t.shape
    if not content:
        return lambda: torch.empty(shape, dtype=dtype)
    return lambda: torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


def replayed(recorder: Recorder, listener: Listener[Any], run: Run) -> AttachedListener:
    """Play what was recorded back to a listener, as if it came from the run.

    Args:
        recorder: the recorder of a training, from the seat that the listener takes.
        listener: the listener, which the referee attaches to the run.
        run: a seated run that never runs; its networks get the recorded weights.
    """
    attached, ear = open_listener(listener, run, seed=0, grants=granted(listener))
    hub, far = Seat("server"), Seat("client")
    if attached.role == "client":
        hub, far = far, hub
    owner = run.cast.clients[0].party if attached.role == "client" else run.cast.server.party
    for batch in recorder.batches:
        if batch.network is not None:
            module = owner.module  # type: ignore[union-attr]
            module.load_state_dict({name: t() for name, t in batch.network.items()})
        turn = Turn(
            ids=batch.ids(), x=None, y=None, step=batch.step, epoch=batch.epoch, phase="train",
            rng=Stream(0),
        )  # fmt: skip
        for (kind, direction), payload in batch.messages.items():
            src, dst = (far, hub) if direction == "in" else (hub, far)
            message = Message(payload=payload(), src=src, dst=dst, kind=kind, turn=turn)
            if ear.wants(message):
                ear.note(message)
        ear.close(turn)
    return attached
