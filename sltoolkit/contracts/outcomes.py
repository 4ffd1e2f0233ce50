"""What an attack hands back. The type decides which metrics the referee applies, not the attack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Base of all outcomes.

    Attributes:
        tuned: hyper-parameters that the attack chose itself, by rehearsing on its own data.
        diagnostics: numbers that the attacker itself could see (final losses, say).
        curve: step -> the mean over targets of the loss that the attacker descended on.
        model: the attacker's own copy of the whole model, inputs (B, ...) -> logits (B, C), if it
            made one on the way; the referee judges a copy of it (`model_accuracy`).
        guess: scores (N, C) of the targets' labels, if the attacker guessed these on the way;
            judged beside what it is after (`label_accuracy`).
    """

    tuned: Mapping[str, float | str] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    model: nn.Module | None = None
    guess: Tensor | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction(Outcome):
    """Estimated inputs: images (N, C, H, W), one per target, in the targets' order.

    Attributes:
        images: the estimates.
        trace: step -> what they were after so many steps, (N, C, H, W): a few, on the way.
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
    """Membership: scores (N,), larger = more likely a member of the training set."""

    scores: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeGuess(Outcome):
    """A private attribute: scores (N, A) over its A values."""

    scores: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ModelClone(Outcome):
    """A stolen client network, from inputs to smashed data."""

    model: nn.Module


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Integrity(Outcome):
    """A manipulation of the training: trigger (C, H, W) or None, and the class it should cause."""

    trigger: Tensor | None
    target_class: int
