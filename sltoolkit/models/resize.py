"""Fitting a network to inputs of another size, and drawing weights anew."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.normed import reset_derived
from sltoolkit.streams import Stream


def resize(module: nn.Module, x: Tensor, rng: Stream) -> nn.Module:
    """A copy of `module` that takes inputs like `x`, (B, ...).

    A linear layer whose inputs have another size now gets that size, and weights drawn anew; every
    other layer must take what it gets, and keeps its weights. A frozen layer is never drawn anew.

    Args:
        module: a network.
        x: inputs; a dry pass with them in evaluation mode finds the sizes.
        rng: the stream in whose scope the pass runs and new weights are drawn.

    Raises:
        SpecError: if a layer other than a linear one doesn't fit, or a frozen one.
    """
    fitted = copy.deepcopy(module)
    modes = {layer: layer.training for layer in fitted.modules()}
    linear = [layer for layer in modes if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(_resize) for layer in linear]
    try:
        with rng.scope(), torch.no_grad():
            fitted.eval()(x)
    except RuntimeError as e:
        shape = "x".join(map(str, x.shape[1:]))
        raise SpecError(
            f"a part of the network can't take inputs of shape {shape}, even with linear layers "
            f"of fitting sizes: {e}"
        ) from e
    finally:
        for hook in hooks:
            hook.remove()
    for layer, mode in modes.items():
        layer.training = mode
    return fitted


def reinitialize(module: nn.Module) -> None:
    """Draw all weights anew, layer by layer, from the scope's generator.

    A weight that its layer can't reset itself (for example a custom `nn.Parameter`) is drawn from a
    normal distribution, so that nothing of what it learned is left.

    Raises:
        SpecError: if a layer's `reset_parameters` fails.
    """
    drawn: set[nn.Module] = set()
    for name, layer in module.named_modules():
        if callable(getattr(layer, "reset_parameters", None)):
            drawn |= _reset(layer, name)
        elif layer not in drawn:
            for weight in layer.parameters(recurse=False):
                draw_normal(weight)


def draw_normal(weight: Tensor) -> None:
    """Draw a weight anew, with the variance that keeps the scale of its inputs."""
    nn.init.normal_(weight, std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 1.0)


def _reset(layer: nn.Module, name: str) -> set[nn.Module]:
    try:
        return reset_derived(layer)
    except Exception as e:
        raise SpecError(
            f"{name or 'the network'} ({type(layer).__name__}) can't be drawn anew, because its "
            f"reset_parameters fails: {e!r}; give it one that needs no arguments"
        ) from e


def _resize(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    if not isinstance(layer, nn.Linear) or inputs[0].shape[-1] == layer.in_features:
        return
    if not layer.weight.requires_grad:
        raise SpecError(
            f"a frozen linear layer expects {layer.in_features} inputs and would get "
            f"{inputs[0].shape[-1]}, for which its weights would be drawn anew: let it learn "
            "(requires_grad_(True)), or give every party the inputs that it expects"
        )
    layer.in_features = inputs[0].shape[-1]
    layer.weight = nn.Parameter(layer.weight.new_empty(layer.out_features, layer.in_features))
    layer.reset_parameters()
