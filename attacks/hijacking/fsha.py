"""FSHA: feature-space hijacking by a malicious server.

Adversary: the server, which departs from the protocol. It hears smashed data z = f(x) while the
client trains, and answers with gradients of its own choice. It holds samples of its own (aux) from
a similar domain. It needs neither the client's network nor labels.

Idea (Pasquini et al. 2021, section 4): make the client's network f encode like a pilot f~ that
the attacker can invert. With own samples x', each step descends on
    pilot and decoder:  L = || d(f~(x')) - x' ||^2,
    critic D:           L_D = E[D(f~(x'))] - E[D(z)] + penalty E[(|| grad D(z^) || - 1)^2],
and sends the client the gradient at z of L_f = E[D(z)], times `scale`, with z^ at random between
codes and smashed data (Gulrajani et al. 2017). With `loss="bce"` the game is the logistic one:
L_D = (BCE(D(f~(x')), 1) + BCE(D(z), 0)) / 2 and L_f = BCE(D(z), 1). At the end d(z) is the
reconstruction of z, in evaluation mode. The task is never learned.

It hijacks a server behind the cut as well as one between a client's head and tail (U-shaped), and
copies of a server (SplitFed) all at once. A client's own loss (NoPeek's, for example) adds to L_f
where the client steps: `scale` weighs against it. Where the defense's public parameters (mechanism)
are known, the pilot sends through its own copy of the defense, as the client does.

Departures from the paper (P) and its public code (C):
1. The client keeps its own optimizer and learning rate; C gives it the attacker's rate, 1e-5.
2. The penalty's norm is per sample (P); C takes it per sample and channel (`penalty_over`).
3. The critic strides down to sides of 4 (P); C overwrites its strided layers by a plain one
   (`shrink=False`).
4. Images are in [0, 1] for client and pilot alike (P: both in [-1, 1]), and the decoder's tanh is
   moved there. The loss is P's over 4, which Adam doesn't notice.
5. Strides, widths and the number of layers follow from the shapes; for the paper's they are the
   paper's. Signals, feature vectors and dense cuts have linear layers where P has none.
6. Where smashed data are never negative (a cut behind a ReLU), the pilot ends in a ReLU, too
   (`signed`); P's client ends in a sum. Otherwise the critic would tell the two by their signs,
   which no client could ever change.
7. Own samples are drawn with replacement, as many as the client sent.
8. P's rates (`paper()`) are for 10,000 steps against a client with a rate of 1e-5. One with Adam's
   1e-3 outruns a critic of 1e-4, and its smashed data run away; `scale` can't slow it down. So by
   default rates are 1e-3 and more, as a dress rehearsal chooses, the critic makes three steps per
   batch, and the penalty weighs 10. The first two come before the step that P has.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.learner import Learner, learn
from sltoolkit.attacks.hijacking._hijacker import Hijacking, Trio
from sltoolkit.contracts.attack import Family
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.critics import as_real, binary_loss, gradient_penalty
from sltoolkit.networks.inverse import decode
from sltoolkit.networks.substitutes import strided_substitute, transposed_decoder
from sltoolkit.parameters.parameter import Parameter


@final
@dataclass(frozen=True, kw_only=True)
class FSHA(Hijacking):
    """Reconstruct inputs by drawing the client into a space of codes that the attacker inverts.

    `lr` and `critic_lr` of None are chosen by a dress rehearsal, when the first batch is heard:
    four settings, each of which hijacks 450 batches (`sltoolkit.adversary.training_rehearsal`).
    """

    family: ClassVar[Family] = "reconstruction"

    lr: Annotated[
        float | None,
        Parameter("learning rate of pilot and decoder", above=0, grid=(1e-3, 3e-3)),
    ] = None
    critic_lr: Annotated[
        float | None, Parameter("learning rate of the critic", above=0, grid=(3e-3, 1e-3))
    ] = None

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one critic step, the first of the rehearsed rates."""
        return cls(width=4, blocks=1, critic_steps=1, lr=1e-3, critic_lr=3e-3)

    def step(self, trio: Trio, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The paper's step: L is the mean squared error of the reconstructions of own samples."""
        codes = trio.codes(x)
        L = functional.mse_loss(trio.reader(codes), x)
        return hijack(self, trio, L, codes.detach(), z)

    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """Linear, as the paper's."""
        return strided_substitute(task.input_shape, task.smashed_shape, signed=signed)

    def reader(self, task: Task) -> nn.Module:
        """The decoder."""
        return transposed_decoder(task.smashed_shape, task.input_shape, width=self.width)

    def outcome(self, reader: nn.Module, z: Tensor) -> Reconstruction:
        """The decoded smashed data."""
        return Reconstruction(images=decode(reader, z))


def hijack(how: Hijacking, trio: Trio, L: Tensor, codes: Tensor, z: Tensor) -> Tensor:
    """Step along the three losses; all gradients are taken before any network moves.

    Args:
        how: the game.
        trio: the networks.
        L: the loss of pilot and reader, a scalar with its graph.
        codes: what the pilot sent for own samples, (B, ...), without a graph.
        z: the client's smashed data, (B, ...).

    Returns:
        What the client gets: the gradient of L_f at z, times `scale`, (B, ...).
    """
    D, z = trio.critic, z.detach().requires_grad_()
    for _ in range(how.critic_steps - 1):
        learn((_critic_loss(how, D, codes, z, D(z)), [D]))
    scores = D(z)
    L_D = _critic_loss(how, D, codes, z, scores)
    L_f = as_real(scores) if how.loss == "bce" else scores.mean()
    (answer,) = torch.autograd.grad(L_f, z, retain_graph=True)
    learn((L, [trio.pilot, trio.reader]), (L_D, [D]))
    trio.losses.note(read_loss=L, critic_loss=L_D, fool_loss=L_f)
    return how.scale * answer


def _critic_loss(how: Hijacking, D: Learner, codes: Tensor, z: Tensor, scores: Tensor) -> Tensor:
    """L_D; `scores` are D(z), (B, 1)."""
    if how.loss == "bce":
        return binary_loss(D(codes), scores) / 2
    gap = D(codes).mean() - scores.mean()
    return gap + how.penalty * gradient_penalty(D, z, codes, over=how.penalty_over)
