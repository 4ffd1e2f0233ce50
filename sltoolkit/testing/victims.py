"""The victims of the contract suite, of several kinds because attacks need different ones."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, final

import torch
from torch import nn

from sltoolkit.api import train
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.defenses import GaussianNoise
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.protocols import FedAvg, LargeBatchSGD, Vanilla
from sltoolkit.testing import toys
from sltoolkit.testing.judging import check_well_formed
from sltoolkit.testing.toys import SMALL, Size
from sltoolkit.training.victim import Victim


@final
@dataclass(kw_only=True, eq=False)
class NoisySteps(Defense):
    """A defense that adds noise to the gradients that the client's first part follows."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "std"
    std: float = 0.1

    def begin(self, setup: PartySetup) -> PartySetup:
        """Wrap the optimizer."""
        if setup.side != "client" or setup.optimizer is None:
            return setup
        return replace(setup, optimizer=_Noisy(setup.optimizer, self.std, setup.rng.torch()))


class _Noisy(torch.optim.Optimizer):
    """An optimizer that adds noise to the gradients that it follows."""

    def __init__(self, inner: torch.optim.Optimizer, std: float, draws: torch.Generator) -> None:
        self._inner, self._std, self._draws = inner, std, draws
        self.param_groups = inner.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the inner optimizer."""
        self._inner.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Add noise to the gradients, and step."""
        for group in self.param_groups:
            for w in group["params"]:
                w.grad += self._std * torch.randn(w.shape, generator=self._draws)
        self._inner.step()


def usual(defense: Defense | None, size: Size = SMALL) -> Victim:
    """Vanilla split learning of a network with BatchNorm and dropout."""
    return toys.victim(defense, norm="batch", size=size)


def private_labels(defense: Defense | None, size: Size = SMALL) -> Victim:
    """The usual victim with labels at the server, so that a client may want to infer them."""
    return toys.victim(defense, norm="batch", protocol=Vanilla(labels_at="server"), size=size)


def federated(defense: Defense | None, size: Size = SMALL) -> Victim:
    """Clients with a whole network, whose updates are heard: gradients or, defended, weights."""
    if defense is None:
        return toys.victim(norm="batch", protocol=LargeBatchSGD(clients=2), size=size)
    return toys.victim(defense, protocol=FedAvg(clients=2), size=size)


def federated_linear(defense: Defense | None, size: Size = SMALL) -> Victim:
    """A federated victim whose network begins with a linear layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(), fc=nn.Linear(math.prod(size.sides), 12), relu=nn.ReLU(),
        drop=nn.Dropout(0.2), head=nn.Linear(12, toys.CLASSES),
    )  # fmt: skip
    return train(
        lambda: nn.Sequential(layers), toys.split_of(size), cut="relu",
        protocol=FedAvg(clients=2), training=size.training, targets=size.targets, defense=defense,
    )  # fmt: skip


def logits(defense: Defense | None, size: Size = SMALL, *, norm: toys.Norm = "batch") -> Victim:
    """A victim whose logits cross the cut, with labels at the server."""

    def network() -> nn.Sequential:
        whole = toys.network(norm, sides=size.sides)
        whole.add_module("loss", nn.Identity())
        return whole

    return train(
        network, toys.split_of(size), cut="head", protocol=Vanilla(labels_at="server"),
        training=size.training, targets=size.targets, defense=defense,
    )  # fmt: skip


Make = Callable[..., Victim]
"""Makes a victim with a defense, or with None, and of a size."""

KINDS: tuple[Make, ...] = (usual, private_labels, federated, federated_linear, logits)
"""The victims that an attack is tried on, in this order."""


@cache
def trained(make: Make, *, defended: bool, size: Size = SMALL) -> Victim:
    """A victim of a kind, defended by noise or not; trained once."""
    noise = NoisySteps() if make in (federated, federated_linear) else GaussianNoise(std=0.3)
    return make(noise if defended else None, size)


def home_of(attack: Attack[Any]) -> Make:
    """The first kind of victim that an attack can be mounted on and judged on.

    Raises:
        AssertionError: if there is none.
    """
    reasons: list[str] = []
    for make in KINDS:
        try:
            check_well_formed(trained(make, defended=False), attack)
        except (ProtocolError, SpecError, ThreatModelError) as refusal:
            reasons.append(f"{make.__name__}: {refusal}")
        else:
            return make
    raise AssertionError(
        f"{type(attack).__name__} can't be mounted on any victim of the suite, so pass victims of "
        f"your own: check_attack(..., victims=[...]). It was refused: {'; '.join(reasons)}"
    )
