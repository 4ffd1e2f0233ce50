"""FSHA's property inference: a hijacked client encodes for a classifier of a private attribute.

Adversary: as FSHA's (`sltoolkit.attacks.hijacking.fsha`), a malicious server, whose own
samples carry the attribute. It needs a protocol in which it doesn't see the attribute anyway.

Idea (Pasquini et al. 2021, section 4.2): in place of the decoder a classifier C reads the pilot's
codes of own samples x' with attribute s',
    pilot and classifier:  L = BCE(C(f~(x')), s'),
with the same critic, the same gradient to the client, and the same game. At the end C(z) says
whether a target has the attribute.

Data sets here know classes alone, so the attribute is whether a sample's class is one of
`classes`: labels are private (U-shaped, say), and half a label is what is stolen.

Departures from the paper and its public code: those of FSHA. The classifier is linear, and the
pilot has SiLU after its strided layers, as in the code.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.attacks.hijacking._hijacker import Hijacking
from sltoolkit.contracts.attack import Family
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import AttributeGuess
from sltoolkit.errors import SpecError
from sltoolkit.networks.substitutes import strided_substitute


@final
@dataclass(frozen=True, kw_only=True)
class FSHAProperty(Hijacking):
    """Infer a private attribute by drawing the client into a space of codes that tells it.

    Attributes:
        classes: the classes whose samples have the attribute.
    """

    family: ClassVar[Family] = "inference"

    classes: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.classes:
            raise SpecError("fsha_property.classes must name the classes that have the attribute")

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one critic step."""
        return cls(width=4, blocks=1, critic_steps=1)

    def attribute(self, y: Tensor) -> Tensor:
        """1 where the class is one of `classes`, else 0."""
        return torch.isin(y, y.new_tensor(self.classes)).long()

    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """With SiLU, as the code's."""
        return strided_substitute(
            task.input_shape, task.smashed_shape, activation=nn.SiLU, signed=signed
        )

    def reader(self, task: Task) -> nn.Module:
        """The classifier: one logit (B, 1)."""
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(task.smashed_shape), 1))

    def read_loss(self, read: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy of own samples' attribute."""
        wanted = self.attribute(y).to(read.dtype)
        return functional.binary_cross_entropy_with_logits(read.squeeze(1), wanted)

    def outcome(self, reader: nn.Module, z: Tensor, **told: Any) -> AttributeGuess:
        """The logits of having the attribute, and of not having it."""
        reader.eval()
        with torch.no_grad():
            logit = reader(z).squeeze(1)
        return AttributeGuess(scores=torch.stack([-logit, logit], dim=1), **told)
