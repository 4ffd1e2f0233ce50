"""What crosses the wire: seats, messages, links, and the bytes counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

from torch import Tensor

from sltoolkit.wire.turn import Turn

Kind = Literal[
    "smashed", "smashed_grad", "labels", "weights", "buffers", "weight_grad", "optimizer", "logits"
]


@final
@dataclass(frozen=True)
class Seat:
    """A position in a protocol: its name, and which one where there are several.

    A server that keeps several copies of its network is one seat; `copy` says which one spoke or
    was spoken to, and makes no other seat of it.
    """

    name: str
    index: int = 0
    copy: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """`server`, `client[2]`."""
        return f"{self.name}[{self.index}]" if self.index else self.name


SERVER = Seat("server")
FED = Seat("fed")
"""Who averages the clients' networks; it hears no smashed data."""


@final
@dataclass(kw_only=True, eq=False, slots=True)
class Message:
    """What crossed the wire once: the payload and who sent it when to whom.

    `rows` (n,) says which rows of the batch an ear's copy of the payload holds; None: all of them.
    `name` tells which of several tensors of this kind it is, such as a weight's name.
    """

    payload: Tensor
    src: Seat
    dst: Seat
    kind: Kind
    turn: Turn
    rows: Tensor | None = None
    name: str = ""


@final
@dataclass(frozen=True)
class Link:
    """One direction of the conversation, by seat names; the key of the byte counts."""

    src: str
    dst: str
    kind: Kind


@final
@dataclass(frozen=True)
class Toll:
    """What is counted: one direction between two seats, one kind, one epoch."""

    src: Seat
    dst: Seat
    kind: Kind
    epoch: int


def tolls_record(tolls: Mapping[Toll, int]) -> list[Any]:
    """As JSON."""
    return [
        [t.src.name, t.src.index, t.dst.name, t.dst.index, t.kind, t.epoch, n]
        for t, n in tolls.items()
    ]


def tolls_from(rows: Sequence[Any]) -> Counter[Toll]:
    """What `tolls_record` made."""
    return Counter({
        Toll(Seat(a, i), Seat(b, j), kind, epoch): n for a, i, b, j, kind, epoch, n in rows
    })  # fmt: skip


def by_link(tolls: Mapping[Toll, int]) -> Counter[Link]:
    """Bytes by seat names and kind, whoever of several and whenever."""
    total: Counter[Link] = Counter()
    for toll, n in tolls.items():
        total[Link(toll.src.name, toll.dst.name, toll.kind)] += n
    return total
