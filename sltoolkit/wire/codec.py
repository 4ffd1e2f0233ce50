"""The contract of communication reducers: lossy codecs for what crosses a wire.

A `Reducer` is stateless: `pack` makes the tensors that travel, and `unpack` makes from them what
the receiver gets. It works on rows. In a message about samples every sample is a row; any other
message is a single row. So what a receiver gets for a sample never depends on the rest of the
batch. (With a range shared by the batch, an outlier in one sample would coarsen the others, a
message about one sample would reveal something about another, and the deployed client, which sends
samples one by one, would send different data than in training.)

A `Codec` sends a run's messages through a reducer, measures the error, and keeps the error
feedback. Messages about samples have no feedback, because what was dropped from one sample has no
place in the next batch. A message holds one of three things (`Content`):

- `samples`: rows along axis 0, such as smashed data or their gradients, without feedback.
- `update`: something that the receiver adds up, such as gradients of weights. What was dropped is
  added to the next message: p = g + e, send C(p), e' = p - C(p) (Stich et al. 2018, Alg. 1 and
  Karimireddy et al. 2019, Alg. 2; there the step size is part of g).
- `state`: something that replaces what the receiver had, such as weights. Adding the dropped part
  would count it twice, so the *difference* from the last delivered state is sent:
  r' = r + C(w - r), the same recursion for the running sum (Richtarik et al. 2021, EF21, eq. 4).
  The first message travels in full.

Whole numbers (labels, a batch counter) pass unchanged, and `labels` can't be reduced. A row of
finite numbers stays finite, unless its range overflows, and a row with inf or nan never becomes
finite, so a run that diverged shows it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple, final

import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter

Reducible = Literal["smashed", "smashed_grad", "weights"]
Content = Literal["samples", "update", "state"]
Carry = Callable[[Tensor], Tensor]
"""Takes a tensor to the receiver, and returns the receiver's copy.

The copy is on the `meta` device where the receiver is in another process.
"""


@final
@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Packed:
    """A packed tensor: what travels, and what both ends know anyway.

    Attributes:
        parts: the tensors that travel.
        shape, dtype, memory_format: those of the tensor that was packed.
        rows: the number of rows, and of numbers in a row, as it was packed.
    """

    parts: tuple[Tensor, ...]
    shape: torch.Size
    dtype: torch.dtype
    memory_format: torch.memory_format
    rows: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """The number of bytes that travel."""
        return sum(part.nbytes for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Reducer(ABC):
    """A lossy codec; its dataclass fields are its parameters."""

    kinds: Annotated[
        tuple[Reducible, ...],
        Parameter("which messages it applies to; labels always travel as they are"),
    ] = ("smashed", "smashed_grad")

    def __post_init__(self) -> None:
        """Refuse senseless parameters; a subclass that adds its own check calls this one, too.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)

    @property
    def remembers(self) -> bool:
        """Whether a codec keeps error feedback for this reducer."""
        return False

    @abstractmethod
    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The tensors that travel for `rows` (n, d), float; none shares memory with it."""

    @abstractmethod
    def decode(self, packed: Packed) -> Tensor:
        """The rows (n, d) that arrive, in the dtype that was packed."""

    def pack(self, t: Tensor, *, per_sample: bool = True) -> Packed:
        """What travels for `t`.

        Args:
            t: any shape, dtype and device; with samples along axis 0 if `per_sample`.
            per_sample: whether every sample is a row; otherwise all of `t` is one row.

        Raises:
            ProtocolError: if `per_sample` and `t` has no axis.
        """
        if per_sample and t.dim() == 0:
            raise ProtocolError(
                "a message about samples has them along its first axis, got a single number: "
                "send it with per_sample=False"
            )
        count = t.shape[0] if per_sample else 1
        # an empty tensor is packed as zero rows of one number, since a row of none has no range
        rows = (count, t.numel() // count) if t.numel() else (0, 1)
        flat = t.detach().reshape(rows)
        return Packed(
            parts=self.encode(flat) if t.is_floating_point() else (flat.clone(),),
            shape=t.shape, dtype=t.dtype, memory_format=_memory_format(t), rows=rows,
        )  # fmt: skip

    def unpack(self, packed: Packed) -> Tensor:
        """The tensor that arrives: shape, dtype, device and memory format as packed, detached."""
        rows = self.decode(packed) if packed.dtype.is_floating_point else packed.parts[0]
        return rows.reshape(packed.shape).contiguous(memory_format=packed.memory_format)

    def begin(self) -> "Codec":
        """A codec for one run, without memory yet."""
        return Codec(self)


class Sent(NamedTuple):
    """A message that went through a codec.

    Attributes:
        received: the receiver's private, detached copy; on the `meta` device where neither the
            sender nor the receiver is in this process.
        nbytes: the number of bytes that traveled.
        here: whether the receiver is in this process.
    """

    received: Tensor
    nbytes: int
    here: bool


@final
class Codec:
    """One run's messages through a reducer: error feedback and measured errors, per route.

    A route is one tensor's way from a sender to a receiver: where several tensors go the same way
    (a network's weights), the route includes the tensor's name.

    In a run of several processes each has its own codec. The sender's codec measures the error and
    keeps the feedback of an `update`. The delivered `state` is kept at both ends, because both
    build on it. The codecs of other processes know the shapes, so that they count the bytes, too.

    Args:
        reducer: the codec of a single message.
    """

    def __init__(self, reducer: Reducer) -> None:
        self.reducer = reducer
        # neither is written in place, so that a state_dict stays as it is
        self._memory: dict[Hashable, Tensor] = {}
        self._sums: dict[Hashable, Tensor] = {}  # squared error and square, kept on the device
        self._shapes: dict[Hashable, Packed] = {}

    @property
    def errors(self) -> dict[Hashable, float]:
        """||received - sent||^2 / ||sent||^2 by route, both norms summed over its messages."""
        sums = {route: s.tolist() for route, s in self._sums.items()}
        return {route: wrong / total if total else 0.0 for route, (wrong, total) in sums.items()}

    def send(
        self, t: Tensor, *, route: Hashable, content: Content, carry: Carry = torch.clone
    ) -> Sent:
        """Send `t`, which is on the `meta` device where its sender is in another process.

        Args:
            t: any shape, dtype and device; with samples along axis 0 if it is about samples.
            route: the tensor's route.
            content: what the receiver does with it.
            carry: takes each of the tensors that travel to the receiver.

        Raises:
            ProtocolError: if tensors of several shapes take a route that has a memory.
        """
        t = t.detach()
        if not t.is_floating_point():
            return _send_whole(t, carry)
        if content == "samples" or not self.reducer.remembers:
            sent = self._send_packed(t, carry, per_sample=content == "samples")
        elif content == "update":
            sent = self._send_update(t, carry, route)
        else:
            sent = self._send_state(t, carry, route)
        if not t.is_meta:
            sums = torch.stack([_squares(sent.received - t), _squares(t)])
            before = self._sums.get(route)
            self._sums[route] = sums if before is None else before.to(sums.device) + sums
        return sent

    def state_dict(self) -> dict[Hashable, dict[str, Tensor]]:
        """Each route's `sums` (2,) float64, from which `errors` follow, and `memory`, if any."""
        kept = (("sums", self._sums), ("memory", self._memory))
        return {
            route: {key: tensors[route] for key, tensors in kept if route in tensors}
            for route in self._sums | self._memory
        }

    def load_state_dict(self, state: Mapping[Hashable, Mapping[str, Tensor]]) -> None:
        """Go on from a `state_dict`; the next messages may be on any device."""
        self._sums = {route: kept["sums"] for route, kept in state.items() if "sums" in kept}
        self._memory = {route: kept["memory"] for route, kept in state.items() if "memory" in kept}

    def _send_packed(self, t: Tensor, carry: Carry, *, per_sample: bool) -> Sent:
        packed = self._packed(t, per_sample=per_sample)
        parts = tuple(carry(part) for part in packed.parts)
        here = not parts[0].is_meta
        if t.is_meta and not here:
            return Sent(torch.empty_like(t), packed.nbytes, here)
        known = replace(packed, parts=parts) if here else packed
        return Sent(self.reducer.unpack(known), packed.nbytes, here)

    def _send_update(self, t: Tensor, carry: Carry, route: Hashable) -> Sent:
        remembered = self._remembered(t, route)
        wanted = t if remembered is None else t + remembered.to(t)
        sent = self._send_packed(wanted, carry, per_sample=False)
        self._memory[route] = t if t.is_meta else wanted - sent.received
        return sent

    def _send_state(self, t: Tensor, carry: Carry, route: Hashable) -> Sent:
        delivered = self._remembered(t, route)
        if delivered is None:
            sent = _send_whole(t, carry)
        else:
            sent = self._send_packed(t - delivered.to(t), carry, per_sample=False)
            received = delivered.to(sent.received) + sent.received
            sent = sent._replace(received=received)
        self._memory[route] = sent.received.clone()
        return sent

    def _packed(self, t: Tensor, *, per_sample: bool) -> Packed:
        """What travels; where the sender is in another process, its shapes, found once."""
        if not t.is_meta:
            return self.reducer.pack(t, per_sample=per_sample)
        key = (t.shape, t.stride(), t.dtype, per_sample)
        if key not in self._shapes:
            self._shapes[key] = self.reducer.pack(t, per_sample=per_sample)
        return self._shapes[key]

    def _remembered(self, t: Tensor, route: Hashable) -> Tensor | None:
        memory = self._memory.get(route)
        if memory is not None and memory.shape != t.shape:
            raise ProtocolError(
                f"route {route!r}: expected a tensor of shape {tuple(memory.shape)} as before, got "
                f"{tuple(t.shape)}: give every tensor a route of its own, its name included"
            )
        return memory


def _send_whole(t: Tensor, carry: Carry) -> Sent:
    arrived = carry(t)
    here = not arrived.is_meta
    return Sent(arrived if here or t.is_meta else t.clone(), t.nbytes, here)


def _memory_format(t: Tensor) -> torch.memory_format:
    last = t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _squares(t: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(t, dtype=torch.float64)
    return norm.square()
