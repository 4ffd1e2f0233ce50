"""The wire: the only place where parties meet.

`Wire.send` hands over a private, detached copy. With an autograd graph, the receiver would get the
sender's weights in `grad_fn`; without a copy, a receiver whose first layer works in place would
rewrite the sender's tensor and every record of it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Protocol, final

import torch
from torch import Tensor

from sltoolkit.wire.codec import Codec, Content
from sltoolkit.wire.message import Kind, Link, Message, Seat, Toll, by_link
from sltoolkit.wire.turn import Turn

_CONTENT: dict[Kind, Content] = {"weights": "state", "weight_grad": "update"}
"""The content of messages by kind; kinds that aren't named hold samples."""


class Ear(Protocol):
    """Anything that hears a wire: a transcript, or a listener."""

    def wants(self, message: Message) -> bool | Tensor:
        """Whether to hear this message, or which rows of it (n,); only those are copied."""

    def note(self, message: Message) -> None:
        """Take a message; its payload is a private copy."""

    def close(self, turn: Turn) -> None:
        """Note that the conversation about a batch is over."""


class Carrier(Protocol):
    """Takes messages to their receivers."""

    def carry(self, t: Tensor, *, src: Seat, dst: Seat, kind: Kind) -> Tensor:
        """The receiver's own copy of `t`."""


@final
class InProcess:
    """A carrier for senders and receivers in one process."""

    def carry(self, t: Tensor, *, src: Seat, dst: Seat, kind: Kind) -> Tensor:
        """A copy of `t`."""
        return t.clone()


@final
class Wire:
    """Carries tensors between seats, counts their bytes, and lets ears hear them.

    Args:
        ears: the ears that hear the messages.
        codec: a lossy codec that messages pass; None sends them as they are.
        carrier: takes messages to their receivers; by default within this process.

    Attributes:
        codec: the codec, which holds the measured error.
    """

    def __init__(
        self,
        ears: Sequence[Ear] = (),
        *,
        codec: Codec | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self.codec = codec
        self._ears = tuple(ears)
        self._carrier = carrier or InProcess()
        self._bytes: Counter[tuple[Seat, Seat, Kind, int]] = Counter()
        self._about: defaultdict[Link, Counter[int]] = defaultdict(Counter)

    def with_ears(self, ears: Sequence[Ear]) -> "Wire":
        """A wire with these ears, the same codec and carrier, and nothing counted."""
        return Wire(ears, codec=self.codec, carrier=self._carrier)

    def error(self, kind: Kind) -> float | None:
        """||received - sent||^2 / ||sent||^2, mean over the routes of a kind; None without any."""
        errors = self.codec.errors if self.codec is not None else {}
        of_kind = [e for route, e in errors.items() if isinstance(route, tuple) and kind in route]
        return sum(of_kind) / len(of_kind) if of_kind else None

    @property
    def tolls(self) -> Counter[Toll]:
        """Payload bytes sent so far, by seats, kind and epoch."""
        return Counter({Toll(*toll): n for toll, n in self._bytes.items()})

    @property
    def bytes(self) -> Counter[Link]:
        """Payload bytes sent so far, by link."""
        return by_link(self.tolls)

    def most_about_one_record(self, link: Link) -> int:
        """Messages of smashed data sent on a link so far about the record that it had most of."""
        return max(self._about[link].values(), default=0)

    def send(
        self, t: Tensor, *, src: Seat, dst: Seat, kind: Kind, turn: Turn, name: str = ""
    ) -> Tensor:
        """Send `t`; returns the receiver's own detached copy, same shape and memory format.

        Args:
            t: the tensor to send.
            src: the seat that sends it.
            dst: the seat that receives it.
            kind: what it is.
            turn: the sender's turn.
            name: tells it from other tensors of its kind, such as a weight's name.
        """
        t = t.detach()
        if self.codec is None or kind not in self.codec.reducer.kinds:
            arrived = self._carrier.carry(t, src=src, dst=dst, kind=kind)
            # where the sender is in another process, only what arrives has numbers
            t = arrived if t.is_meta else t
            size = t.numel() * t.element_size()
        else:
            content, route = _CONTENT.get(kind, "samples"), (src, dst, kind, name)
            carry = partial(self._carrier.carry, src=src, dst=dst, kind=kind)
            t, size, here = self.codec.send(t, route=route, content=content, carry=carry)
            arrived = t if here else torch.empty_like(t, device="meta")
        self._bytes[src, dst, kind, turn.epoch] += size
        if kind == "smashed":
            self._about[Link(src.name, dst.name, kind)].update(turn.ids.tolist())
        if self._ears and not t.is_meta:  # a message between two other processes isn't heard here
            message = Message(payload=t, src=src, dst=dst, kind=kind, turn=turn, name=name)
            self._let_hear(message)
        return arrived

    def _let_hear(self, message: Message) -> None:
        for ear in self._ears:
            wanted = ear.wants(message)
            if wanted is True:
                ear.note(_copied(message, message.payload.clone()))
            elif isinstance(wanted, Tensor) and len(wanted):
                ear.note(_copied(message, message.payload.index_select(0, wanted), wanted))

    def close(self, turn: Turn) -> None:
        """End the conversation about a batch: listeners now get what their seat heard in it."""
        for ear in self._ears:
            ear.close(turn)


def _copied(m: Message, payload: Tensor, rows: Tensor | None = None) -> Message:
    # `dataclasses.replace` would take as long as the rest of a message
    return Message(
        payload=payload, src=m.src, dst=m.dst, kind=m.kind, turn=m.turn, name=m.name, rows=rows
    )
