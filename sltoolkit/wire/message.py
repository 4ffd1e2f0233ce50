"""Messages, the seats between which they travel, and the bytes counted."""

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
    """A position in a protocol: its name, and its number among seats of this name.

    A server that keeps several copies of its network is one seat; `copy` is the number of the copy
    that sends or receives, and seats that differ in it are equal.
    """

    name: str
    index: int = 0
    copy: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """The seat in print, such as `server` or `client[2]`."""
        return f"{self.name}[{self.index}]" if self.index else self.name


SERVER = Seat("server")
FED = Seat("fed")
"""The seat that averages the clients' networks; it hears no smashed data."""


@final
@dataclass(kw_only=True, eq=False, slots=True)
class Message:
    """One tensor that crossed the wire.

    Attributes:
        payload: the tensor.
        src: the seat that sent it.
        dst: the seat that received it.
        kind: what it is.
        turn: the batch that it is about, as the sender sees it.
        rows: (n,) which rows of the batch an ear's copy of the payload holds; None for all.
        name: tells it from other tensors of its kind, such as a weight's name.
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
    """One direction of a conversation and one kind of message, by seat names."""

    src: str
    dst: str
    kind: Kind


@final
@dataclass(frozen=True)
class Toll:
    """The key by which bytes are counted: the sender, the receiver, the kind and the epoch."""

    src: Seat
    dst: Seat
    kind: Kind
    epoch: int


def tolls_record(tolls: Mapping[Toll, int]) -> list[Any]:
    """Tolls and their bytes as JSON."""
    return [
        [t.src.name, t.src.index, t.dst.name, t.dst.index, t.kind, t.epoch, n]
        for t, n in tolls.items()
    ]


def tolls_from(rows: Sequence[Any]) -> Counter[Toll]:
    """Tolls and their bytes from what `tolls_record` made."""
    return Counter({
        Toll(Seat(a, i), Seat(b, j), kind, epoch): n for a, i, b, j, kind, epoch, n in rows
    })  # fmt: skip


def by_link(tolls: Mapping[Toll, int]) -> Counter[Link]:
    """Bytes by link, summed over seats of the same name and over epochs."""
    total: Counter[Link] = Counter()
    for toll, n in tolls.items():
        total[Link(toll.src.name, toll.dst.name, toll.kind)] += n
    return total
