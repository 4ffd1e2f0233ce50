"""How many targets descend at once: as many as the attack allows and memory holds.

The memory of one target is the difference between what a step allocates for two targets and for one
(weights that all targets share cancel out). The count ignores that memory is freed again, so it
errs on the safe side.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU_BUDGET = 4 * 2**30
"""Bytes that the targets of a chunk may take on a CPU."""

CUDA_SHARE = 0.5
"""The share of a GPU's free memory that the targets of a chunk may take."""

STATES = 4
"""How many tensors of a leaf's size its optimizer needs: the gradient, and AMSGrad's three."""


def fitting(most: int, count: int, step: Callable[[int], Sequence[Tensor]]) -> int:
    """How many of `count` targets descend at once: at most `most`, and at least one.

    Args:
        most: how many the attack allows.
        count: the number of targets.
        step: makes one step of a given number of targets, and returns their leaves.
    """
    if min(most, count) < 3:
        return most
    one, two = (_taken(step, k) for k in (1, 2))
    each, device = max(1, two[0] - one[0]), two[1]
    return max(1, min(most, budget(device) // each))


def budget(device: torch.device) -> int:
    """Bytes that the targets of a chunk may take."""
    if device.type == "cuda":
        return int(CUDA_SHARE * torch.cuda.mem_get_info(device)[0])
    return CPU_BUDGET


def _taken(step: Callable[[int], Sequence[Tensor]], count: int) -> tuple[int, torch.device]:
    with _Allocations() as counter:
        leaves = step(count)
    kept = sum(leaf.untyped_storage().nbytes() for leaf in leaves)
    return counter.bytes + STATES * kept, leaves[0].device


@final
class _Allocations(TorchDispatchMode):
    """Counts the bytes of all new tensors that operations make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_place(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor) and _place(t) not in given]
        self.bytes += sum(t.untyped_storage().nbytes() for t in made)
        return out


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
