"""What an attack's decoder minimizes: the candidates of a rehearsal, and the loss itself.

A decoder should minimize what reconstructions are judged by (`sltoolkit.metrics.losses`). Which of
the losses is best depends on what was sent, so a rehearsal compares them. A training rehearsal is
too costly for all combinations of losses and rates: rates are compared with the first loss, and the
other losses with the first rates.
"""

from dataclasses import replace
from typing import Annotated, Any, TypeVar

from sltoolkit.metrics.losses import LOSSES, Loss, Objective, objectives
from sltoolkit.parameters.grids import combinations
from sltoolkit.parameters.parameter import Parameter

P = TypeVar("P", bound=Any)

DecoderLoss = Annotated[
    Objective | None,
    Parameter(
        "what the decoder minimizes: `mse`, `ssim` (1 - SSIM), or `both` (their sum)",
        grid=tuple(LOSSES),
    ),
]
"""The parameter of an attack that trains a decoder; None if it is open."""


def with_objectives(attack: P, shape: tuple[int, ...], *, name: str = "loss") -> list[P]:
    """The candidates of a rehearsal, the default first.

    They are all combinations of the other open parameters with the first objective and, if the
    objective is open, the first combination with each further objective that suits the inputs.

    Args:
        attack: an attack, perhaps with open parameters.
        shape: the shape of one input.
        name: the parameter that says what the decoder minimizes.
    """
    if getattr(attack, name) is not None:
        return combinations(attack)
    first, *others = objectives(shape)
    options = combinations(replace(attack, **{name: first}))
    return options + [replace(options[0], **{name: other}) for other in others]


def loss_of(objective: Objective | None, shape: tuple[int, ...]) -> Loss:
    """The loss of an objective; if it is still open, that of the first that suits the inputs.

    Args:
        objective: what a decoder minimizes; None if nothing was rehearsed.
        shape: the shape of one input.
    """
    return LOSSES[objective or objectives(shape)[0]]


def unfit(objective: Objective | None, shape: tuple[int, ...], *, name: str = "loss") -> str | None:
    """Why inputs of a shape can't be reconstructed with this objective; None if they can."""
    if objective in (None, *objectives(shape)):
        return None
    return (
        f"its {name} {objective!r} is for images with sides of at least 11 pixels, and inputs have "
        f"the shape {shape}; use {name}='mse' or leave it open"
    )
