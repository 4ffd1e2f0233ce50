"""Received tensors as inputs of a network."""

from typing import Any, final

import torch
from torch import Tensor, nn


@final
class Received:
    """A received tensor as a network's input, without a copy, and the gradient at it.

    Usually the tensor is a leaf of the graph. Autograd forbids layers that work in place (often a
    first ReLU) on a leaf; for such a network the identity `_Catch` comes first. (A copy would do in
    both cases, but for large smashed data it costs a percent or two of a training step.)

    Attributes:
        tensor: the network's input.
    """

    def __init__(self, received: Tensor, *, in_place: bool) -> None:
        self._received = received
        self._caught: list[Tensor] = []
        if in_place:
            anchor = torch.empty(0, device=received.device, requires_grad=True)
            self.tensor: Tensor = _Catch.apply(anchor, received, self._caught)  # type: ignore[no-untyped-call]
        else:
            self.tensor = received.requires_grad_()

    def gradient(self) -> Tensor:
        """The gradient at the received tensor; zero where nothing depends on it."""
        if self._caught:
            return self._caught[0]
        grad = self._received.grad if self._received.is_leaf else None
        return torch.zeros_like(self._received) if grad is None else grad


class _Catch(torch.autograd.Function):
    """The identity; `anchor` makes its output a part of the graph."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, received: Tensor, caught: list[Tensor]) -> Tensor:
        """Return `received` itself, which later layers may write to."""
        ctx.caught = caught
        ctx.mark_dirty(received)
        return received

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        """Keep the gradient at the input."""
        ctx.caught.append(grads[0])
        return None, None, None


def may_work_in_place(network: nn.Module) -> bool:
    """Whether a layer may work in place; torch's own layers do so only where `inplace` is set."""
    return any(
        getattr(m, "inplace", False) or not type(m).__module__.startswith("torch.nn.")
        for m in network.modules()
    )
