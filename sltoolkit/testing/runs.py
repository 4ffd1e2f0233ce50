"""Runs on toy data that are watched from outside: parties, messages, losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor, nn

from sltoolkit import models
from sltoolkit.contracts.attack import Listener
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.referee.listening import open_listener
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.testing.toys import GRANTS, QUICK, Norm, cuts, network, split
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.training.secret import victim_stream
from sltoolkit.wire.message import Message
from sltoolkit.wire.wire import Wire


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Witnessed:
    """A finished run, with everything that can be seen of it from outside.

    Attributes:
        run: the run, with its live parties and their gradients.
        heard: all messages, in order.
        losses: the loss of each epoch.
    """

    run: Run
    heard: list[Message]
    losses: tuple[float, ...]

    @property
    def client(self) -> nn.Module:
        """The first client's live network."""
        return self.run.cast.clients[0].party.module

    def payloads(self, kind: str, phase: str = "train") -> list[Tensor]:
        """The payloads of one kind in a phase, in order."""
        return [m.payload for m in self.heard if m.kind == kind and m.turn.phase == phase]


def seated(
    defense: Defense | None = None,
    *,
    norm: Norm = "group",
    dropout: float = 0.2,
    protocol: Protocol | None = None,
    training: Training | None = QUICK,
    data: Split | None = None,
    seed: int = 0,
    double: bool = False,
) -> Run:
    """A run of the toy network before it begins; with `double` in float64."""
    protocol, data = protocol or Vanilla(), data or split()
    if double:
        exact = replace(data.private_train, x=data.private_train.x.double())
        data = replace(data, private_train=exact)
    rng = victim_stream(seed, data)
    with rng.child("init").scope():
        height, width = data.private_train.x.shape[2:]
        whole = network(norm, dropout=dropout, sides=(height, width))
    whole = whole.double() if double else whole
    return seat_parties(
        models.cut(whole, cuts(protocol)), data, protocol=protocol,
        defense=defense or NoDefense(), training=training, rng=rng,
    )  # fmt: skip


def witness(
    run: Run,
    *,
    epochs: int = 2,
    listeners: Sequence[Listener[Any]] = (),
    grants: frozenset[str] = GRANTS,
    prepare: Callable[[Run], None] | None = None,
) -> Witnessed:
    """Run with listeners attached, and keep everything that can be seen from outside.

    Args:
        run: a seated run; its wire is replaced.
        epochs: how many epochs.
        listeners: attacks that listen.
        grants: what they are granted.
        prepare: called with the run before it begins.
    """
    recorder = RecordingEar()
    ears = [open_listener(x, run, seed=5, grants=grants)[1] for x in listeners]
    run.cast.wire = Wire([recorder, *ears])
    if prepare is not None:
        prepare(run)
    return Witnessed(run=run, heard=recorder.messages, losses=run_phases(run, epochs))
