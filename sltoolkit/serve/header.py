"""The header that goes before every tensor: a fixed number of integers, nothing to unpickle.

Sender and receiver run the same loop, so the receiver knows what must come. The header says what
comes, and the two must agree before a byte of the payload is read.
"""

from dataclasses import dataclass
from typing import Any, final, get_args

import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.wire.frames import memory_order
from sltoolkit.wire.message import Kind

MAGIC = 0x51705717  # an arbitrary number; the last two digits are the format's version
MOST_DIMS = 8
LENGTH = 5 + 2 * MOST_DIMS
"""Integers in a header: magic, sequence number, kind, dtype, dimensions, shape, order."""

KINDS: tuple[Kind, ...] = get_args(Kind)
DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Header:
    """What a message is.

    Attributes:
        sequence: number of earlier messages from this process to that one.
        kind: what the tensor is.
        dtype: the type of its numbers.
        shape: the tensor's shape.
        order: its dimensions from the slowest to the fastest in memory; the payload travels in
            this order, so that the receiver's copy has the sender's memory format.
    """

    sequence: int
    kind: Kind
    dtype: torch.dtype
    shape: tuple[int, ...]
    order: tuple[int, ...]

    def packed(self) -> Tensor:
        """The header as integers, (LENGTH,) int64."""
        dims = len(self.shape)
        if dims > MOST_DIMS or self.dtype not in DTYPES:
            raise ProtocolError(
                f"can't send {self}: at most {MOST_DIMS} dimensions of plain numbers"
            )
        pad = [0] * (MOST_DIMS - dims)
        head = [MAGIC, self.sequence, KINDS.index(self.kind), DTYPES.index(self.dtype), dims]
        return torch.tensor([*head, *self.shape, *pad, *self.order, *pad])

    def empty(self, device: torch.device) -> Tensor:
        """An unwritten payload, contiguous."""
        return torch.empty([self.shape[d] for d in self.order], dtype=self.dtype, device=device)

    def restored(self, payload: Tensor) -> Tensor:
        """The payload with its dimensions in the order of `shape`."""
        return payload.permute([self.order.index(d) for d in range(len(self.order))])

    def __str__(self) -> str:
        """The header in print, such as `smashed, torch.float32 of shape 64x8`."""
        return f"{self.kind}, {self.dtype} of shape {'x'.join(map(str, self.shape)) or 'scalar'}"


def unpacked(numbers: Tensor) -> Header:
    """The header in these integers, (LENGTH,) int64.

    Raises:
        ProtocolError: if they are no header of this version.
    """
    magic, sequence, kind, dtype, dims, *rest = numbers.tolist()
    shape, order = tuple(rest[:dims]), tuple(rest[MOST_DIMS : MOST_DIMS + dims])
    valid = (
        magic == MAGIC and 0 <= kind < len(KINDS) and 0 <= dtype < len(DTYPES)
        and 0 <= dims <= MOST_DIMS and min(shape, default=0) >= 0
        and sorted(order) == list(range(dims))
    )  # fmt: skip
    if not valid:
        raise ProtocolError("sent something that is no header of this version")
    return Header(
        sequence=sequence, kind=KINDS[kind], dtype=DTYPES[dtype], shape=shape, order=order
    )


def prepared(t: Tensor, *, sequence: int, kind: Kind) -> tuple[Header, Tensor]:
    """A tensor's header, and its payload: contiguous, in the order of its memory."""
    order = memory_order(t)
    header = Header(sequence=sequence, kind=kind, dtype=t.dtype, shape=tuple(t.shape), order=order)
    return header, t.permute(order).contiguous()


def check(header: Header, like: Tensor, *, sequence: int, kind: Kind, classes: int) -> None:
    """Refuse a message that is not the one that must come now.

    Args:
        header: what was announced.
        like: a tensor of the shape and dtype that must come; labels may also come as weights of
            all classes, (B, classes) floats, because a defense may send them so.
        sequence: the number that must come.
        kind: the kind that must come.
        classes: number of classes.

    Raises:
        ProtocolError: saying what was expected and what came.
    """
    order = tuple(range(like.dim()))
    due = Header(
        sequence=sequence, kind=kind, dtype=like.dtype, shape=tuple(like.shape), order=order
    )
    if header.sequence != sequence:
        raise ProtocolError(
            f"sent message {header.sequence} where {sequence} was due: the parties don't follow "
            "the same protocol"
        )
    weights = (
        kind == "labels" == header.kind
        and header.dtype.is_floating_point
        and header.shape == (len(like), classes)
    )
    found: Any = (header.kind, header.dtype, header.shape)
    if found != (due.kind, due.dtype, due.shape) and not weights:
        raise ProtocolError(f"sent {header}; expected {due}")


def finite(t: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; found in one pass, without a copy."""
    if not t.is_floating_point() or t.numel() == 0:
        return True
    return all(bool(edge.isfinite()) for edge in t.aminmax())
