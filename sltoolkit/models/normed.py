"""Drawing weights anew that torch derives from others: spectral and weight norm, parametrizations.

Such a layer's `weight` is computed whenever it is read or the layer is called, so that resetting it
leaves what it is computed from as it was.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_POWER_STEPS = 15
"""Steps of power iteration for fresh singular vectors, as in torch."""


@torch.no_grad()
def reset_derived(layer: nn.Module) -> set[nn.Module]:
    """Let a layer reset its parameters, and the tensors from which it computes its weights.

    Args:
        layer: a layer with a method `reset_parameters`.

    Returns:
        The layer's parametrizations that were drawn with it.
    """
    hooks = [
        h for h in layer._forward_pre_hooks.values() if isinstance(h, SpectralNorm | WeightNorm)
    ]
    for hook in hooks:
        source = "orig" if isinstance(hook, SpectralNorm) else "v"
        setattr(layer, hook.name, torch.empty_like(getattr(layer, f"{hook.name}_{source}")))
    lists = layer.parametrizations if parametrize.is_parametrized(layer) else nn.ModuleDict()
    assert isinstance(lists, nn.ModuleDict)
    with parametrize.cached():
        reset = layer.reset_parameters
        assert callable(reset)
        reset()
        fresh = {name: getattr(layer, name).clone() for name in lists}
    for hook in hooks:
        _keep(layer, hook)
    return {lists[name] for name, value in fresh.items() if _derive(layer, name, value)}


def _keep(layer: nn.Module, hook: SpectralNorm | WeightNorm) -> None:
    """Compute the tensors behind a weight that a hook derives from it."""
    weight: Tensor = getattr(layer, hook.name)
    if isinstance(hook, SpectralNorm):
        getattr(layer, f"{hook.name}_orig").copy_(weight)
        matrix = hook.reshape_weight_to_matrix(weight)
        _singular(matrix, getattr(layer, f"{hook.name}_u"), getattr(layer, f"{hook.name}_v"))
    else:
        getattr(layer, f"{hook.name}_v").copy_(weight)
        getattr(layer, f"{hook.name}_g").copy_(torch.norm_except_dim(weight, 2, hook.dim))


def _derive(layer: nn.Module, name: str, weight: Tensor) -> bool:
    """Whether a parametrized weight can be set; then its parametrizations are, too."""
    try:
        setattr(layer, name, weight)
    except NotImplementedError:  # a parametrization without an inverse
        return False
    lists = layer.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    parametrizations = lists[name]
    assert isinstance(parametrizations, Iterable)
    for each in parametrizations:
        buffers = dict(each.named_buffers(recurse=False))
        if buffers.keys() == {"_u", "_v"}:
            axis = int(each.dim)
            matrix = weight.movedim(axis, 0).flatten(1)
            _singular(matrix, buffers["_u"], buffers["_v"])
    return True


def _singular(matrix: Tensor, u: Tensor, v: Tensor) -> None:
    """Draw the first singular vectors u and v of a matrix anew, in place."""
    nn.init.normal_(u)
    for _ in range(_POWER_STEPS):
        v.copy_(functional.normalize(matrix.T @ u, dim=0))
        u.copy_(functional.normalize(matrix @ v, dim=0))
