"""A fresh network of the same architecture, without any number of the old one."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.resize import draw_normal, reinitialize


@torch.no_grad()
def redraw(module: nn.Module) -> None:
    """Draw all parameters and floating buffers anew, from the scope's generator, or refuse.

    Every number is overwritten with NaN first, so what is still NaN after the reset was not reset.
    A parameter is then drawn from a normal distribution. A buffer goes back if it consists of
    zeros or of ones, which say nothing.

    Raises:
        SpecError: naming a buffer or an integer parameter that no layer can draw anew, or a layer
            whose `reset_parameters` fails.
    """
    for name, parameter in module.named_parameters():
        if not _has_numbers(parameter):
            raise _refused(module, name, "is a parameter of integers")
    before = {name: value.clone() for name, value in _numbers(module)}
    for _, value in _numbers(module):
        value.fill_(torch.nan)
    reinitialize(module)
    parameters = {id(p) for p in module.parameters()}
    for name, value in _numbers(module):
        if not bool(value.isnan().any()):
            continue
        if id(value) in parameters:
            draw_normal(value)
        elif _says_nothing(before[name]):
            value.copy_(before[name])
        else:
            raise _refused(module, name, "is a buffer that is no constant 0 or 1")


def _numbers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for named in (module.named_parameters(), module.named_buffers()):
        yield from ((name, value) for name, value in named if _has_numbers(value))


def _has_numbers(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _says_nothing(value: Tensor) -> bool:
    return bool((value == 0).all()) or bool((value == 1).all())


def _refused(module: nn.Module, name: str, what: str) -> SpecError:
    layer = module.get_submodule(name.rpartition(".")[0])
    return SpecError(
        f"a fresh client of the same architecture is asked for, without any number of the victim, "
        f"but {name} of {type(layer).__name__} {what}, and nothing draws it anew: give "
        f"{type(layer).__name__} a method reset_parameters that sets it (a constant to its value), "
        "or don't grant the architecture"
    )
