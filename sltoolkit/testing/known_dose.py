"""A leak of known dose: a planted defense, on which attacks and metrics are calibrated.

    victim = sl.frozen(nn.Identity(), server, data, defense=KnownDose(dose=0.05))

A known share of messages (the dose) is sent as it is, and all others are blank. Behind a client
that computes nothing (`nn.Identity`), what is sent as it is *is* a plain copy of the input. So at
dose 0 nothing leaks, at dose 1 everything does, and in between a mean over targets is

    value(dose) = (1 - dose) * value(0) + dose * value(1).

The same holds for the other messages that a defense reaches. Blank gradients at the cut tell no
label. Where smashed data are blank, no gradient comes back, and the client's update is zero, too.
So with one record per update, a known share of updates is undisturbed.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn

DOSES = (0.0, 0.02, 0.05, 0.1, 0.3, 1.0)
"""The doses at which attacks are calibrated."""


@final
@dataclass(kw_only=True, eq=False)
class KnownDose(Defense):
    """Sends a known share of messages as they are; all others are blank.

    Which ones is drawn anew for every batch, and each message of a batch has the same chance. If
    dose * B is an integer, exactly as many messages of a batch of B are sent as they are; otherwise
    their number is one of the two integers beside it.

    With `shuffled`, each message is one about another record of the batch. That is the control:
    as much is sent, but nothing about the record. A batch of one record has no other, so its
    message is blank.
    """

    citation: ClassVar[str] = (
        "setloop 2026 (arXiv:2609.04382): injected leaks of known dose as positive controls, "
        "shuffled pairs as negative ones"
    )
    strength: ClassVar[str] = "dose"

    dose: Annotated[
        float, Parameter("share of messages that are sent as they are", least=0, most=1)
    ] = 0.1
    message: Annotated[
        Literal["smashed", "smashed_grad"],
        Parameter("which messages: smashed data, or the gradients that come back"),
    ] = "smashed"
    shuffled: Annotated[
        bool, Parameter("whether a message is about another record of the batch")
    ] = False

    in_training: Annotated[
        bool, Parameter("whether messages of the training are dosed; else all of them are plain")
    ] = True

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """A share of the rows of z (B, ...); the other rows are zero, without a gradient."""
        return self._dosed(z, turn) if self._acts("smashed", turn) else z

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        """A share of the rows of g (B, ...); the other rows are zero."""
        return self._dosed(g, turn) if self._acts("smashed_grad", turn) else g

    def _acts(self, message: str, turn: Turn) -> bool:
        return self.message == message and (self.in_training or turn.phase == "release")

    def _dosed(self, rows: Tensor, turn: Turn) -> Tensor:
        g, n = turn.rng.torch(rows.device), len(rows)
        sent = _chosen(n, self.dose, g)
        if self.shuffled:
            sent &= n > 1
            rows = rows[_others(n, g)]
        return torch.where(sent.view(-1, *[1] * (rows.dim() - 1)), rows, torch.zeros_like(rows))


def _chosen(n: int, dose: float, g: torch.Generator) -> Tensor:
    """Which of n rows are sent, (n,) bool: systematic sampling, in random order.

    The points k + u, with one u uniform in [0, 1), lie on a line of length n * dose that the rows
    divide into equal parts; a row is sent if one of the points lies in its part.
    """
    ends = torch.arange(n + 1, dtype=torch.float64, device=g.device) * dose
    points = (ends + torch.rand(1, generator=g, dtype=torch.float64, device=g.device)).floor()
    return (points.diff() > 0)[torch.randperm(n, generator=g, device=g.device)]


def _others(n: int, g: torch.Generator) -> Tensor:
    """Another row for each of n rows, (n,): the next one in a random circle."""
    circle = torch.randperm(n, generator=g, device=g.device)
    found = torch.empty_like(circle)
    found[circle] = circle.roll(1)
    return found
