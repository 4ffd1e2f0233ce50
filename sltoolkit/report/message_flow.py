"""The messages of a protocol, measured by listening to one epoch on a tiny network.

This module knows no protocol, so a drawing made from it can't disagree with the code. The numbers
are those of the tiny network: they show which messages have the same size, not how large real
messages are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from math import prod
from typing import Final, Literal, final

import torch
from torch import nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.protocol import Protocol
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.message import Kind, Message, Seat
from sltoolkit.wire.turn import Turn

PER_SAMPLE: Final[frozenset[Kind]] = frozenset({"smashed", "smashed_grad", "labels", "logits"})
"""Kinds with a row per sample; the others are the state of a network, tensor by tensor."""

_CLIENTS, _SHARE, _BATCH = 2, 4, 2  # clients, samples of each client, samples per batch
_SIDE, _CLASSES = 8, 4
_WIDTH = 16  # numbers per sample at the first cut; half as many at each further one


@final
@dataclass(frozen=True, kw_only=True)
class Step:
    """A message; all tensors of one network's state count as one message.

    Attributes:
        src: the sender.
        dst: the receiver.
        kind: the message's kind.
        numbers: numbers per sample if the kind has a row per sample, else numbers in all.
    """

    src: Seat
    dst: Seat
    kind: Kind
    numbers: int


@final
@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Messages that belong together and are repeated.

    Attributes:
        about: whether they are about a batch, or are exchanged between batches.
        steps: the messages in order. Clients are numbered as they appear: `client` is any of them,
            and `client[1]` is another one.
        clients: the seats that `client` stands for, in order.
    """

    about: Literal["batch", "between"]
    steps: tuple[Step, ...]
    clients: tuple[Seat, ...]


def flow(protocol: Protocol) -> list[Exchange]:
    """The distinct exchanges of one epoch with at least two clients, in order of appearance.

    Args:
        protocol: the protocol, with its parameters.
    """
    protocol = replace(protocol, clients=max(_CLIENTS, protocol.clients))
    log = _Log([])
    training = Training(epochs=1, batch_size=_BATCH) if protocol.learns else None
    run = seat_parties(
        tiny_network(protocol.parts), tiny_data(protocol.clients), protocol=protocol,
        defense=NoDefense(), training=training, rng=Stream(0), ears=[log],
    )  # fmt: skip
    run_phases(run, 1)
    return exchanges(log.messages, [member.seat for member in run.cast.clients])


def exchanges(messages: Sequence[Message], clients: Sequence[Seat]) -> list[Exchange]:
    """The distinct exchanges in a log of messages, in order of appearance.

    The log is divided into stretches: successive messages about samples, or successive messages
    without samples in one client's turn. A stretch is one exchange, or it repeats a shorter
    exchange, by the same client or by others.

    Args:
        messages: everything that was sent.
        clients: the seats that may stand for each other.
    """
    found: dict[tuple[bool, tuple[Step, ...]], list[Seat]] = {}
    for idler, stretch in groupby(messages, key=_idler):
        idle, steps = idler is not None, _steps(stretch)
        length = _period(steps, clients)
        for start in range(0, len(steps), length):
            block = steps[start : start + length]
            first = [s for step in block for s in (step.src, step.dst) if s in clients][:1]
            actors = found.setdefault((idle, _renumbered(block, clients)), [])
            actors += [seat for seat in first if seat not in actors]
    return [
        Exchange(
            about="between" if idle else "batch",
            steps=steps,
            clients=tuple(sorted(actors, key=lambda seat: (seat.name, seat.index))),
        )
        for (idle, steps), actors in found.items()
    ]


@final
@dataclass
class _Log:
    """An ear that keeps everything."""

    messages: list[Message]

    def wants(self, message: Message) -> bool:
        return True

    def note(self, message: Message) -> None:
        self.messages.append(message)

    def close(self, turn: Turn) -> None:
        """Nothing to do: repeated messages show where batches end."""


def _idler(message: Message) -> Stream | None:
    """The stream of a turn without samples, which identifies its client; else None."""
    return None if len(message.turn.ids) else message.turn.rng


def _steps(messages: Iterable[Message]) -> list[Step]:
    """One step per message; a network's state is one step, complete when its receiver answers."""
    steps: list[Step] = []
    unfinished: dict[tuple[Seat, Seat, Kind], int] = {}
    for message in messages:
        src, dst, kind, shape = message.src, message.dst, message.kind, message.payload.shape
        unfinished = {k: i for k, i in unfinished.items() if k[:2] != (dst, src)}
        if kind in PER_SAMPLE:
            steps.append(Step(src=src, dst=dst, kind=kind, numbers=prod(shape[1:])))
        elif (place := unfinished.get((src, dst, kind))) is not None:
            steps[place] = replace(steps[place], numbers=steps[place].numbers + prod(shape))
        else:
            unfinished[src, dst, kind] = len(steps)
            steps.append(Step(src=src, dst=dst, kind=kind, numbers=prod(shape)))
    return steps


def _period(steps: Sequence[Step], clients: Sequence[Seat]) -> int:
    """The length of the shortest block of steps whose repetition gives all of them."""
    lengths = (n for n in range(1, len(steps)) if len(steps) % n == 0)
    return next((n for n in lengths if len(set(_blocks(steps, clients, n))) == 1), len(steps))


def _blocks(
    steps: Sequence[Step], clients: Sequence[Seat], length: int
) -> Iterator[tuple[Step, ...]]:
    for start in range(0, len(steps), length):
        yield _renumbered(steps[start : start + length], clients)


def _renumbered(steps: Sequence[Step], clients: Sequence[Seat]) -> tuple[Step, ...]:
    """The same steps with clients of one name numbered in order of appearance."""
    names: dict[Seat, Seat] = {}
    for seat in (seat for step in steps for seat in (step.src, step.dst)):
        if seat in clients and seat not in names:
            index = sum(known.name == seat.name for known in names)
            names[seat] = Seat(seat.name, index)
    return tuple(_renamed(step, names) for step in steps)


def _renamed(step: Step, names: Mapping[Seat, Seat]) -> Step:
    return replace(step, src=names.get(step.src, step.src), dst=names.get(step.dst, step.dst))


def tiny_network(parts: int) -> tuple[nn.Module, ...]:
    """A network with buffers for inputs (B, 1, 8, 8) and 4 classes, in this many parts."""
    widths = [max(2, _WIDTH >> cut) for cut in range(parts - 1)]
    with Stream(0).scope():
        first = nn.Sequential(
            nn.Flatten(), nn.Linear(_SIDE**2, widths[0]), nn.BatchNorm1d(widths[0]), nn.Tanh()
        )
        inner = [nn.Sequential(nn.Linear(a, b), nn.Tanh()) for a, b in pairwise(widths)]
        return first, *inner, nn.Sequential(nn.Linear(widths[-1], _CLASSES))


def tiny_data(clients: int) -> Split:
    """Random samples, the same number for each client."""
    count = clients * _SHARE
    draws = Stream(0).torch()
    whole = Samples(
        x=torch.rand(count + 2 * _CLASSES, 1, _SIDE, _SIDE, generator=draws),
        y=torch.arange(count + 2 * _CLASSES) % _CLASSES,
        ids=torch.arange(count + 2 * _CLASSES),
        groups=torch.arange(count + 2 * _CLASSES),
    )
    return Split(
        name="random",
        private_train=whole[:count],
        private_holdout=whole[count : count + _CLASSES],
        aux=whole[count + _CLASSES :],
        classes=tuple("abcd"),
    )
