"""How victims are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from sltoolkit.errors import SpecError, lookup
from sltoolkit.parties.honest import Optimizer


@final
@dataclass(frozen=True, kw_only=True)
class Training:
    """How a victim is trained.

    Attributes:
        epochs: passes over the private training samples.
        batch_size: samples per batch.
        lr: learning rate, of every party.
        optimizer: `adam` or `sgd`.
        momentum: of SGD.
        weight_decay: L2 penalty.
        channels_last: memory format of convolutions (same results up to rounding, often faster).
    """

    epochs: int = 5
    batch_size: int = 64
    lr: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    channels_last: bool = False

    def __post_init__(self) -> None:
        lookup(OPTIMIZERS, self.optimizer, "training.optimizer")
        for name, least in (("epochs", 0), ("batch_size", 1), ("lr", 0), ("weight_decay", 0)):
            if not getattr(self, name) >= least:  # so that NaN is refused
                raise SpecError(
                    f"training.{name} must be at least {least}, got {getattr(self, name)}"
                )

    def optimizer_for(self, module: nn.Module) -> Optimizer | None:
        """A fresh optimizer; None for a network without parameters."""
        parameters = list(module.parameters())
        if not parameters:
            return None
        optimizer = lookup(OPTIMIZERS, self.optimizer, "optimizer")(parameters, self)
        optimizer.register_step_pre_hook(_lay_out)
        return optimizer


def _lay_out(optimizer: Optimizer, *_: Any) -> None:
    """Give every gradient the memory layout of its weight.

    Torch's fused CPU optimizers read both as if they were laid out alike. Gradients that autograd
    accumulates are; one that was averaged, or that opacus put together, may not be, and would
    silently be taken for another.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)


# fused: the same steps up to rounding, for a small network at a fifth of the default's time
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Training], Optimizer]] = {
    "adam": lambda p, t: torch.optim.Adam(p, lr=t.lr, weight_decay=t.weight_decay, fused=True),
    "sgd": lambda p, t: torch.optim.SGD(
        p, lr=t.lr, momentum=t.momentum, weight_decay=t.weight_decay, fused=True
    ),
}
