"""The first layer's gradient, solved for its input: exact, without optimization.

Adversary: a party that hears the gradients (or weights) that a client sends for a single sample.
The network must begin with a linear layer with a bias. The attacker needs no data.

Idea (Phong et al. 2018, section 3.2; Geiping et al. 2020, proposition 3.1): for h = W x + b,
    dL/dW_i = dL/db_i * x   and so   x = dL/dW_i / dL/db_i   for every unit i with dL/db_i != 0.
All units agree on x, so the attack takes their mean weighted by (dL/db_i)^2,
    x = sum over i of dL/db_i dL/dW_i  /  sum over i of (dL/db_i)^2,
which is the least-squares solution: it is exact if the gradient is exact, and the best estimate if
the gradient is noisy. The change of the weights over several local steps of SGD, with momentum or
without, is a sum of such products with the same x, so the solution stays exact.

Departures from the papers:
1. A weighted mean over all units takes the place of a single unit.
2. Inputs whose gradient vanishes at every unit (a saturated loss, dead units) can't be found. They
   come out as zeros.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.attacks.gradients._matching import UpdatesView, require_scale
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Updates
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class FirstLayer(Attack[UpdatesView]):
    """Divide the first layer's weight gradient by its bias gradient; one sample per update.

    A part of the network is enough, so an eavesdropper on SplitFed's fed server can do it, too.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UpdatesView
    citation: ClassVar[str] = (
        "Phong et al. 2018, Privacy-preserving deep learning via additively homomorphic encryption "
        "(IEEE TIFS); Geiping et al. 2020 (arXiv:2003.14053), proposition 3.1"
    )

    def run(self, view: UpdatesView, *, rng: Stream) -> Reconstruction:
        """Solve for every target; nothing is random.

        Raises:
            SpecError: if an update is that of several samples, if updates aren't gradients up to a
                known factor, or if the network doesn't begin with a linear layer with a bias.
        """
        updates = view.updates
        require_scale(updates, name="first_layer")
        if updates.batch != 1:
            raise SpecError(
                f"first_layer divides the gradients of a single sample, and those of "
                f"{updates.batch} samples are sums over them: use targets.batch = 1"
            )
        name = _first(updates, view.task)
        gradients = updates.gradients()
        x = solve(gradients[f"{name}.weight"], gradients[f"{name}.bias"])
        return Reconstruction(images=x.reshape(-1, *view.task.input_shape))


def solve(weight: Tensor, bias: Tensor) -> Tensor:
    """Inputs (N, d) of a linear layer with gradients (N, u, d) of its weights, (N, u) of its bias.

    An input whose bias gradient is all zeros comes out as zeros.
    """
    size = bias.square().sum(1, keepdim=True)
    x = torch.einsum("nu,nud->nd", bias, weight) / size
    return torch.where(size > 0, x, torch.zeros_like(x))


def _first(updates: Updates, task: Task) -> str:
    """The name of the linear layer that takes the inputs.

    Raises:
        SpecError: if the first layer isn't linear on all inputs, or has no bias.
    """
    layers = [
        (name, m) for name, m in updates.network.named_modules()
        if next(m.parameters(recurse=False), None) is not None
    ]  # fmt: skip
    name, first = layers[0] if layers else ("", nn.Identity())
    if not isinstance(first, nn.Linear) or first.in_features != prod(task.input_shape):
        raise SpecError(
            "first_layer needs a network that begins with a linear layer on all inputs, and this "
            f"one begins with {type(first).__name__}: use inverting_gradients"
        )
    if not first.weight.requires_grad or not getattr(first.bias, "requires_grad", True):
        raise SpecError(
            "first_layer divides the gradients of the first layer, and this one is frozen, so no "
            "gradient of it is sent: use inverting_gradients"
        )
    if first.bias is None:
        raise SpecError("first_layer divides by the first layer's bias gradient: it has no bias")
    if not _takes_inputs(updates.network, first, task):
        raise SpecError("first_layer needs the inputs as they are at the first linear layer")
    return name


def _takes_inputs(network: nn.Module, layer: nn.Linear, task: Task) -> bool:
    """Whether the layer gets the network's inputs themselves, flattened."""
    taken: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        taken.append(given[0])

    probe = torch.linspace(0, 1, 2 * prod(task.input_shape)).to(layer.weight)
    handle = layer.register_forward_pre_hook(keep)
    modes = network.training
    try:
        with torch.no_grad():
            network.eval()(probe.reshape(2, *task.input_shape))
    finally:
        handle.remove()
        network.train(modes)
    return len(taken) > 0 and torch.equal(taken[0].flatten(1), probe.reshape(2, -1))
