"""A cut whose parts are compared with the model on real inputs."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.cut import Place, cut
from sltoolkit.models.trace import ADVICE, FAILURES
from sltoolkit.streams import Stream


def verified_cut(
    module: nn.Module, at: Place | Sequence[Place], x: Tensor
) -> tuple[nn.Module, ...]:
    """The parts of `module` as `cut` makes them, after they computed what the module computes.

    Copies of both run twice in training and twice in evaluation mode, on inputs of two batch sizes,
    so a number that tracing froze (a batch size, a counter) shows.

    Args:
        module: the model; its parts share its parameters.
        at: where to cut.
        x: real inputs (N, ...), of which a few are used.

    Raises:
        SpecError: if the model can't be cut there, or the parts compute something else.
    """
    parts = cut(module, at)
    first = next(module.parameters(), torch.zeros(()))
    batches = [rows.to(first.device) for rows in (x[:2], x[-3:])]
    for training in (True, False):
        expected = _outputs(module, batches, training=training)
        if expected is None:  # a model that can't take the inputs is reported where it is seated
            continue
        found = _outputs(nn.Sequential(*parts), batches, training=training)
        if found is None or not all(map(_equal, found, expected)):
            mode = "training" if training else "evaluation"
            raise SpecError(
                f"cut at {at!r}, the parts of {type(module).__name__} should compute what the "
                f"model computes, and on real inputs in {mode} mode they don't: its forward does "
                "something that depends on values, on the batch or on earlier calls, which "
                "torch.fx can't follow, or a container that is cut has hooks or a train() of its "
                f"own; {ADVICE}"
            )
    return parts


def _outputs(
    module: nn.Module, batches: Sequence[Tensor], *, training: bool
) -> list[Tensor] | None:
    """What a copy computes for the batches, one after the other; None if it can't."""
    replica = copy.deepcopy(module).train(training)
    with Stream(0).scope(), torch.no_grad():
        try:
            outputs = [replica(rows.clone()) for rows in batches]
        except FAILURES:
            return None
    return outputs if all(isinstance(output, Tensor) for output in outputs) else None


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Whether both are the same up to a GPU's rounding."""
    return found.shape == expected.shape and torch.allclose(
        found, expected, rtol=1e-5, atol=1e-6, equal_nan=True
    )
