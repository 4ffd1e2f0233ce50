"""What `forward` changes in its own module: tensors and numbers that a graph can't follow."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

_MOVES = ("to", "type_as")
"""Methods that put a tensor elsewhere and leave its numbers."""


class _Seen(NamedTuple):
    """A tensor as it was: itself, how often it had been written to, and its numbers."""

    tensor: Tensor
    version: int
    numbers: Tensor


State = Mapping[str, _Seen | float]


def state_of(module: nn.Module) -> State:
    """All buffers, and all plain attributes that are tensors or numbers, by name."""
    return {
        name: _Seen(v, v._version, v.detach().clone()) if isinstance(v, Tensor) else v
        for name, v in _held(module)
        if isinstance(v, Tensor | int | float)
    }


def changes(before: State, module: nn.Module) -> list[str]:
    """The names of what was written to, or replaced by something else."""
    now = dict(_held(module))
    return [name for name, old in before.items() if not _same(old, now.get(name))]


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, layer in module.named_modules():
        plain = {name: value for name, value in vars(layer).items() if name != "training"}
        for name, value in {**plain, **layer._buffers}.items():
            yield (f"{path}.{name}" if path else name), value


def _same(old: _Seen | float, new: Any) -> bool:
    if not isinstance(old, _Seen):
        return type(new) is type(old) and (new == old or new != new)
    if isinstance(new, fx.Proxy):
        node = new.node
        return node.target in _MOVES and [n.op for n in node.all_input_nodes[:1]] == ["get_attr"]
    if new is old.tensor:  # a write may leave the numbers of today, such as a zero halved
        return bool(new._version == old.version)
    return isinstance(new, Tensor) and torch.equal(old.numbers.nan_to_num(), new.nan_to_num())
