"""The honest parties; a malicious party is another implementation of the same interface."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.parties.received import Received, may_work_in_place
from sltoolkit.parties.stages import Client, Middle, Server
from sltoolkit.streams import Stream

Optimizer = torch.optim.Optimizer


class Lap(NamedTuple):
    """The numbers of samples that a network took forward and backward in an epoch."""

    forward: int
    backward: int


class _Network:
    """A network with its optimizer and its random stream; without an optimizer it is frozen.

    Attributes:
        learning: whether it follows gradients.
        deferred: whether its optimizer steps only in `follow`.
        wrapped: whether a defense wrapped its optimizer, which then is not one of torch's own.
        weights: the network's parameters, in its order.
        laps: the samples that it took, by epoch.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer | None, rng: Stream) -> None:
        self.module = module
        self.optimizer = optimizer
        self.rng = rng
        self.learning = optimizer is not None
        self.deferred = False
        self._inlet: tuple[torch.Size, torch.dtype, torch.device] | None = None
        self.laps: list[Lap] = []
        self._forward = self._backward = 0
        self._in_place = may_work_in_place(module)
        self.weights = list(module.parameters())
        foreign = not type(optimizer).__module__.startswith("torch.optim")
        self.wrapped = optimizer is not None and foreign
        self._draws = _may_draw(module) or self.wrapped

    def learn(self, learning: bool) -> None:
        """Train or stand still; a network without an optimizer always stands still."""
        self.learning = learning and self.optimizer is not None
        self.module.train(self.learning)

    def scope(self) -> AbstractContextManager[None]:
        """The random scope of a pass; no scope for a network that draws nothing."""
        return self.rng.torch_scope() if self._draws else _NO_SCOPE

    def compute(self, x: Tensor) -> Tensor:
        """The network's output (B, ...) for an input (B, ...)."""
        self.takes(x)
        return _as_tensor(self.module(x))

    def takes(self, x: Tensor) -> None:
        """Count a batch (B, ...) that goes forward."""
        self._inlet = x.shape, x.dtype, x.device
        self._forward += x.shape[0]

    @property
    def inlet(self) -> Tensor:
        """An empty batch (0, ...) in the shape of its last input."""
        if self._inlet is None:
            return torch.empty(0)
        shape, dtype, device = self._inlet
        return torch.empty((0, *shape[1:]), dtype=dtype, device=device)

    def returns(self, rows: int) -> None:
        """Count samples that go backward."""
        self._backward += rows

    def end_lap(self) -> None:
        """Note that an epoch is over."""
        self.laps.append(Lap(self._forward, self._backward))
        self._forward = self._backward = 0

    def zero(self) -> None:
        """Forget old gradients, including those that a wrapped optimizer keeps.

        Torch's own optimizers keep none, and their `zero_grad` costs far more than this loop.
        """
        if self.optimizer is not None and self.wrapped:
            self.optimizer.zero_grad()
        for weight in self.weights:
            weight.grad = None

    def move(self) -> None:
        """Step the optimizer if the network is learning and not deferred."""
        if self.learning and not self.deferred and self.optimizer is not None:
            self.optimizer.step()

    def gradients(self) -> dict[int, Tensor]:
        """The gradients by the numbers of the weights that learn, zero where there is none."""
        return {
            j: torch.zeros_like(w) if w.grad is None else w.grad
            for j, w in enumerate(self.weights)
            if w.requires_grad
        }

    def follow(self, gradients: Mapping[int, Tensor]) -> None:
        """Step along these gradients, by numbers of weights, instead of those at its weights."""
        for j, gradient in gradients.items():
            self.weights[j].grad = gradient
        if self.learning and self.optimizer is not None:
            self.optimizer.step()


@final
class HonestClient(_Network, Client):
    """Computes up to the cut, and follows the gradient that it gets back."""

    def forward(self, x: Tensor) -> Tensor:
        """Smashed data, with its graph."""
        with self.scope():
            return self.compute(x)

    def update(self, z: Tensor, back: Tensor | None, extra: Tensor | None) -> None:
        """Back-propagate `back` through `z`, and the further loss `extra`; then step."""
        if back is None:
            return
        with self.scope() if extra is None else self.rng.torch_scope():
            self.zero()
            roots, grads = ([z], [back]) if z.requires_grad else ([], [])
            if extra is not None:
                roots, grads = [*roots, extra], [*grads, torch.ones_like(extra)]
            if roots:
                self.returns(z.shape[0])
                torch.autograd.backward(roots, grads)
            self.move()


@final
class HonestMiddle(_Network, Middle):
    """Computes between two cuts, and never sees labels."""

    def forward(self, received: Tensor) -> Tensor:
        """Its output for what it received; keeps the graph until `backward`."""
        with self.scope():
            self._received = Received(received, in_place=self._in_place)
            self._sent = self.compute(self._received.tensor)
            return self._sent

    def backward(self, grad: Tensor) -> Tensor:
        """Back-propagate, step, and return the gradient at what was received.

        An empty batch changes no weights, nor does one on the `meta` device.
        """
        if grad.shape[0] == 0 or grad.is_meta:
            return self._received.gradient()
        with self.scope():
            self.zero()
            self.returns(grad.shape[0])
            self._sent.backward(grad)
            self.move()
            return self._received.gradient()


@final
class HonestServer(_Network, Server):
    """Computes the loss (cross-entropy, mean over the batch); also the tail of a client."""

    def __init__(self, module: nn.Module, optimizer: Optimizer | None, rng: Stream) -> None:
        super().__init__(module, optimizer, rng)
        self._losses: list[Tensor] = []

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Forward, loss, backward, update; returns the gradient at the cut (B, ...).

        An empty batch changes no weights, nor does one on the `meta` device.
        """
        if smashed.shape[0] == 0 or smashed.is_meta:
            return torch.zeros_like(smashed)
        with self.scope():
            entry = Received(smashed, in_place=self._in_place)
            loss = functional.cross_entropy(self.compute(entry.tensor), labels)
            self.zero()
            self.returns(smashed.shape[0])
            loss.backward()
            self.move()
            self.note(loss)
            return entry.gradient()

    def note(self, loss: Tensor) -> None:
        """Keep a batch's mean loss."""
        self._losses.append(loss.detach())

    def take_losses(self) -> Tensor:
        """The mean loss of each batch since the last call."""
        losses, self._losses = self._losses, []
        return torch.stack(losses) if losses else torch.empty(0)


Honest = HonestClient | HonestMiddle | HonestServer


def _as_tensor(out: object) -> Tensor:
    if not isinstance(out, Tensor):
        raise TypeError(f"a part of the network returned {type(out).__name__}, expected a tensor")
    return out


_NO_SCOPE = nullcontext()
_DRAW_NOTHING = (
    nn.Sequential, nn.Conv2d, nn.Linear, nn.Flatten, nn.Identity, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.LeakyReLU,
    nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh,
)  # fmt: skip


def _may_draw(network: nn.Module) -> bool:
    """Whether a network may draw random numbers.

    It can't if all its layers are known to draw none and have no hooks.
    """
    return any(
        type(m) not in _DRAW_NOTHING
        or m._forward_hooks
        or m._forward_pre_hooks
        or m._backward_hooks
        for m in network.modules()
    )
