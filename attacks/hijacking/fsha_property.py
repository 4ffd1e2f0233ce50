"""FSHA's property inference: a hijacked client encodes for a classifier of a private attribute.

Adversary: a malicious server, as FSHA's (`sltoolkit.attacks.hijacking.fsha`). It knows the
attribute of its own samples (aux). The protocol must keep the attribute of the others private.

Idea (Pasquini et al. 2021, section 4.2): in place of the decoder, a classifier C reads the pilot's
codes of aux samples x' with attribute s',
    pilot and classifier:  L = BCE(C(f~(x')), s'),
with FSHA's critic, losses and gradient to the client. At the end C(z) says whether a target has
the attribute.

Data sets here have classes and no further attributes, so the attribute is whether a sample's class
is one of `classes`. The attack steals a part of the label, so the protocol must keep labels private
(U-shaped, for example).

Departures from the paper and its public code: those of FSHA. As in the code, the classifier is
linear, and the pilot has SiLU after its strided layers.
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.attacks.hijacking._hijacker import Hijacking, Trio
from sltoolkit.attacks.hijacking.fsha import hijack
from sltoolkit.contracts.attack import Family
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import AttributeGuess
from sltoolkit.networks.substitutes import strided_substitute
from sltoolkit.parameters.parameter import Parameter


@final
@dataclass(frozen=True, kw_only=True)
class FSHAProperty(Hijacking):
    """Infer a private attribute by drawing the client into a space of codes that tells it."""

    family: ClassVar[Family] = "inference"

    classes: Annotated[
        tuple[int, ...],
        Parameter("the classes whose samples have the attribute", least=0, nonempty=True),
    ] = (0,)
    lr: Annotated[float, Parameter("learning rate of pilot and classifier", above=0)] = 1e-3
    critic_lr: Annotated[float, Parameter("learning rate of the critic", above=0)] = 1e-3

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, and one critic step."""
        return cls(width=4, blocks=1, critic_steps=1)

    def attribute(self, y: Tensor) -> Tensor:
        """1 for samples whose class is one of `classes`, 0 for the others."""
        return torch.isin(y, y.new_tensor(self.classes)).long()

    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """The public code's pilot, which has SiLU after its strided layers."""
        return strided_substitute(
            task.input_shape, task.smashed_shape, activation=nn.SiLU, signed=signed
        )

    def reader(self, task: Task) -> nn.Module:
        """The classifier: one logit (B, 1)."""
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(task.smashed_shape), 1))

    def step(self, trio: Trio, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """FSHA's step, with L the binary cross-entropy of the attribute of aux samples."""
        codes = trio.codes(x)
        logits = trio.reader(codes).squeeze(1)
        wanted = self.attribute(y).to(logits.dtype)
        L = functional.binary_cross_entropy_with_logits(logits, wanted)
        return hijack(self, trio, L, codes.detach(), z)

    def outcome(self, reader: nn.Module, z: Tensor) -> AttributeGuess:
        """The logits of having the attribute, and of not having it."""
        reader.eval()
        with torch.no_grad():
            logit = reader(z).squeeze(1)
        return AttributeGuess(scores=torch.stack([-logit, logit], dim=1))
