"""What attacks on weight updates share: a batch's update as a function of a guess of the batch.

The attacker knows the client's network and program. So for guessed inputs x (B, ...) and label
probabilities y (B, C) it computes the update that it would have heard,
    u(x, y) = grad over weights of  mean over the batch of  -sum over c of y_c log softmax(f(x))_c,
or, after E > 1 local steps of SGD, the change of the weights over these steps divided by lr * E
(Geiping et al. 2020, section 6.2, "federated averaging"). It compares u with what it heard.

Dropout is off, since the attacker can't know the client's masks. BatchNorm layers use the
statistics of the guessed batch, as the client's used those of the true one.

The first step of a fresh Adam is the sign of the gradient, which has no derivative. It is replaced
by
    u / (|u| + 0.1 rms(u)),   with rms the root mean square over each weight tensor,
which is small where a small gradient leaves the sign uncertain. If the client took several steps of
Adam, their change is compared with this model of the first one.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, vmap
from torch.nn import functional

from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Updates
from sltoolkit.errors import SpecError, ThreatModelError

Gradients = Mapping[str, Tensor]
"""Gradients by the name of their parameter."""

_TINY = 1e-30
_SOFT = 0.1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class UpdatesView:
    """What DLG and its relatives need: the updates, and shapes and classes."""

    updates: Updates
    task: Task


@final
class Matching:
    """Computes the updates of guesses, to compare with the updates that were heard.

    Args:
        updates: what was heard.
        name: the name of the attack, for error messages.

    Attributes:
        heard: the gradients heard, by parameter, (G, ...) for G groups.
        groups: the number of groups, G.
        batch: samples per group.

    Raises:
        ThreatModelError: if the network ends before the loss.
    """

    def __init__(self, updates: Updates, *, name: str) -> None:
        if not updates.whole:
            raise ThreatModelError(
                f"{name} computes the loss, but the updates heard are those of a part of the "
                "network that ends before it: use fedavg or large_batch_sgd"
            )
        self._network = _as_known(updates.network)
        self._weights = {n: w.detach() for n, w in self._network.named_parameters()}
        self.heard = updates.gradients()
        self._names = list(self.heard)
        self.groups = len(self.heard[self._names[0]])
        self.batch = updates.batch
        self._training = updates.training
        self._signs = updates.kind == "weights" and updates.training.optimizer != "sgd"
        self._steps = 1 if updates.kind == "weight_grad" or self._signs else updates.steps

    def heard_of(self, groups: Tensor) -> dict[str, Tensor]:
        """The gradients heard from the groups with these indices (M,): (M, ...) by parameter."""
        return {name: gradient[groups] for name, gradient in self.heard.items()}

    def of(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The update of one guess, x (B, ...) and y (B, C), with its graph; no group dimension.

        It is scaled as `Updates.gradients` scales the updates that were heard.
        """
        slope = grad(self._loss)
        lr, decay = self._training.lr, self._training.weight_decay
        if self._signs:
            first = slope(self._weights, x, y)
            return {n: _soft_sign(first[n] + decay * self._weights[n]) for n in self._names}
        if self._steps == 1:
            only: dict[str, Tensor] = slope(self._weights, x, y)
            return {n: only[n] for n in self._names}
        weights, names = self._weights, self._names  # frozen weights are not among the names
        way = dict.fromkeys(names, torch.zeros((), device=x.device))
        for _ in range(self._steps):
            now = slope(weights, x, y)
            way = {n: self._training.momentum * way[n] + now[n] + decay * weights[n] for n in names}
            weights = {**weights, **{n: weights[n] - lr * way[n] for n in names}}
        scale = lr * self._steps
        before = self._weights
        return {n: (before[n] - weights[n]) / scale - decay * before[n] for n in self._names}

    def of_many(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The updates of guesses for M groups, x (M, B, ...) and y (M, B, C); each (M, ...)."""
        found: dict[str, Tensor] = vmap(self.of, randomness="different")(x, y)
        return found

    def _loss(self, weights: Gradients, x: Tensor, y: Tensor) -> Tensor:
        # a copy: a network whose first layer works in place would rewrite the guess
        logits: Tensor = functional_call(self._network, dict(weights), (x.clone(),))
        return functional.cross_entropy(logits, y)


def _soft_sign(gradient: Tensor) -> Tensor:
    """A smooth sign: near +1 or -1 for entries that aren't small compared with their tensor."""
    size = gradient.square().mean().clamp(min=_TINY).sqrt()
    return gradient / (gradient.abs() + _SOFT * size)


def _as_known(network: nn.Module) -> nn.Module:
    """A copy that computes as the client does, without what only the client knows (dropout)."""
    known = copy.deepcopy(network).requires_grad_(False).train()
    replace_all_batch_norm_modules_(known)  # running statistics take no part in training mode
    for layer in known.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.eval()
    return known


def squared_distance(guess: Gradients, heard: Gradients) -> Tensor:
    """The sum of squared differences over all weights: (M, ...) to (M,) (Zhu et al. 2019)."""
    return torch.stack([(guess[n] - heard[n]).square().flatten(1).sum(1) for n in heard]).sum(0)


def cosine_distance(guess: Gradients, heard: Gradients) -> Tensor:
    """1 - cosine over all weights together: (M, ...) to (M,) (Geiping et al. 2020)."""

    def dot(a: Gradients, b: Gradients) -> Tensor:
        return torch.stack([(a[n] * b[n]).flatten(1).sum(1) for n in heard]).sum(0)

    norms = dot(guess, guess).clamp(min=_TINY).sqrt() * dot(heard, heard).clamp(min=_TINY).sqrt()
    return 1 - dot(guess, heard) / norms


def sole_labels(updates: Updates, task: Task) -> Tensor | None:
    """The labels of groups of one sample, (G,), read off the last layer (Zhao et al. 2020).

    If the layer has a bias, the bias's gradient is softmax - onehot, whose only negative entry is
    the label's. Otherwise iDLG's rule applies: each row of the weights' gradient is that entry
    times the features. So if no feature is negative (behind a ReLU or a sigmoid), only the label's
    row has a negative sum.

    Returns None if a group holds several samples, or if the network has no last linear layer that
    learns.
    """
    if updates.batch != 1:
        return None
    gradients = updates.gradients()
    weights = updates.network.named_parameters()
    ends = [n for n, w in weights if w.dim() == 2 and w.shape[0] == task.classes]
    if not ends or ends[-1] not in gradients:
        return None
    bias = gradients.get(ends[-1].removesuffix("weight") + "bias")
    return (gradients[ends[-1]].sum(2) if bias is None else bias).argmin(1)


def require_scale(updates: Updates, *, name: str) -> None:
    """Refuse weight changes that aren't gradients up to a known factor.

    Raises:
        SpecError: if the client sends weights and its optimizer isn't SGD.
    """
    if updates.kind == "weights" and updates.training.optimizer != "sgd":
        raise SpecError(
            f"{name} needs gradients to scale, and after a step of {updates.training.optimizer} "
            "the weights' change isn't: attack SGD, or use inverting_gradients, which compares "
            "directions"
        )
