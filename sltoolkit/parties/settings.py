"""How victims are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
from torch import nn

from sltoolkit.errors import lookup
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.parties.honest import Optimizer


@final
@dataclass(frozen=True, kw_only=True)
class Training:
    """How a victim is trained."""

    epochs: Annotated[int, Parameter("passes over the private training samples", least=0)] = 5
    batch_size: Annotated[int, Parameter("samples per batch", least=1)] = 64
    lr: Annotated[float, Parameter("learning rate of every party", least=0)] = 1e-3
    optimizer: Annotated[str, Parameter("`adam` or `sgd`")] = "adam"
    momentum: Annotated[
        float, Parameter("momentum of `sgd`; `adam` ignores it", least=0, below=1)
    ] = 0.0
    weight_decay: Annotated[float, Parameter("L2 penalty on the weights", least=0)] = 0.0
    channels_last: Annotated[
        bool,
        Parameter("memory format of convolutions (same results up to rounding, often faster)"),
    ] = False

    def __post_init__(self) -> None:
        """Refuse senseless settings.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)
        lookup(OPTIMIZERS, self.optimizer, "training.optimizer")

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
    accumulates are. A gradient that was averaged, or that opacus put together, may not be; its
    entries would silently be applied to the wrong weights.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)


# fused optimizers take the same steps up to rounding, for small networks in a fifth of the time
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Training], Optimizer]] = {
    "adam": lambda p, t: torch.optim.Adam(p, lr=t.lr, weight_decay=t.weight_decay, fused=True),
    "sgd": lambda p, t: torch.optim.SGD(
        p, lr=t.lr, momentum=t.momentum, weight_decay=t.weight_decay, fused=True
    ),
}
