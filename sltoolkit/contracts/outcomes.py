"""What an attack hands back. The type, not the attack, decides which metrics are applied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Base of all outcomes.

    Attributes:
        tuned: the hyper-parameters that were chosen on the attacker's own data.
        diagnostics: numbers that the attacker itself can see, for example final losses.
        curve: step -> the mean over targets of the loss that the attacker descended on.
        model: the attacker's own copy of the whole model, inputs (B, ...) -> logits (B, C), if the
            attack made one as a by-product; the referee judges a copy of it (`model_accuracy`).
        guess: scores (N, C) of the targets' labels, if the attack made them as a by-product; the
            referee judges them, too (`label_accuracy`).
    """

    tuned: Mapping[str, float | str] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    model: nn.Module | None = None
    guess: Tensor | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction(Outcome):
    """Estimated inputs, one per target, in the targets' order.

    Attributes:
        images: the estimates, (N, ...), in the shape of inputs.
        trace: step -> the estimates after so many steps, (N, ...), for a few steps.
    """

    images: Tensor
    trace: Mapping[int, Tensor] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LabelGuess(Outcome):
    """Guessed labels: scores (N, C), larger = more likely that class; the guess is the argmax."""

    scores: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class MembershipScores(Outcome):
    """Guessed membership: scores (N,), larger = more likely a member of the training set."""

    scores: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeGuess(Outcome):
    """A guessed private attribute: scores (N, A) over its A values; the guess is the argmax."""

    scores: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ModelClone(Outcome):
    """A stolen client network, from inputs to smashed data."""

    model: nn.Module


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Integrity(Outcome):
    """A manipulated training: a trigger (C, H, W) or None, and the class that it should cause."""

    trigger: Tensor | None
    target_class: int
