"""FSHA: feature-space hijacking by a malicious server.

Adversary: the server, which departs from the protocol. It hears smashed data z = f(x) while the
client trains, and answers with gradients of its own choice. It holds samples of its own (aux) from
a similar domain. It needs neither the client's network nor labels.

Idea (Pasquini et al. 2021, section 4): make the client's network f encode like a pilot f~ that
the attacker can invert. With aux samples x', each step descends on
    pilot and decoder:  L = loss(d(f~(x')), x'),
    critic D:           L_D = E[D(f~(x'))] - E[D(z)] + penalty E[(|| grad D(z^) || - 1)^2],
and sends the client the gradient at z of L_f = E[D(z)], times `scale`. Here z^ lies at a random
point between codes and smashed data (Gulrajani et al. 2017), and L is a loss by which
reconstructions are judged (`sltoolkit.metrics.losses`). With `loss="bce"` the other losses are
L_D = (BCE(D(f~(x')), 1) + BCE(D(z), 0)) / 2 and L_f = BCE(D(z), 1). At the end d(z), in evaluation
mode, is the reconstruction. The task is never learned.

The attack takes the seat of a server behind the cut or of one between a client's head and tail
(U-shaped). If a server has several copies (SplitFed), it takes the seats of all of them. If the
client has a loss of its own (NoPeek's, for example), the client follows the sum of both gradients,
and `scale` weighs them. If the defense's public parameters (mechanism) are known, the pilot sends
through its own copy of the defense, as the client does.

Departures from the paper (P) and its public code (C):
1. The client keeps its own optimizer and learning rate. C gives it the attacker's rate, 1e-5.
2. The penalty's norm is per sample (P). C takes it per sample and channel (`penalty_over`).
3. The critic strides down to sides of 4 (P). C overwrites its strided layers by a plain one
   (`shrink=False`).
4. Images are in [0, 1] for client and pilot alike (P: both in [-1, 1]), and the decoder's tanh is
   moved to that range. So the squared error is a quarter of P's, which makes no difference to Adam.
5. Strides, widths and the number of layers follow from the shapes; for the paper's shapes they are
   the paper's. Feature vectors and dense cuts, which P doesn't have, get linear layers.
6. If smashed data are never negative (a cut behind a ReLU), the pilot ends in a ReLU, too
   (`signed`). Otherwise the critic would tell codes from smashed data by their signs, which no
   client could ever change. P's client ends in a sum.
7. Each step draws as many aux samples as the client sent, with replacement.
8. P's rates (`paper()`) are meant for 10,000 steps against a client with a rate of 1e-5. A client
   with Adam's 1e-3 outruns a critic of 1e-4, and its smashed data diverge; `scale` can't slow it
   down. So by default a rehearsal chooses rates of 1e-3 and more, the critic makes three steps per
   batch, and the penalty weighs 10. The first two of the three steps come before P's joint step.
9. A rehearsal compares losses of the decoder. P minimizes the squared error (`decoder_loss="mse"`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Learner, learn
from sltoolkit.adversary.objectives import DecoderLoss, loss_of, unfit, with_objectives
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.hijacking._hijacker import Hijacking, Trio
from sltoolkit.contracts.attack import Family
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.critics import as_real, binary_loss, gradient_penalty
from sltoolkit.networks.fitting import decode
from sltoolkit.networks.substitutes import strided_substitute, transposed_decoder
from sltoolkit.parameters.parameter import Parameter


@final
@dataclass(frozen=True, kw_only=True)
class FSHA(Hijacking):
    """Reconstruct inputs by drawing the client into a space of codes that the attacker inverts.

    If `lr`, `critic_lr` or `decoder_loss` is None, a training rehearsal chooses it when the first
    batch is heard. By default it compares four settings and, for images, two further losses of the
    decoder; each hijacks 450 batches (`sltoolkit.adversary.training_rehearsal`).
    """

    family: ClassVar[Family] = "reconstruction"

    lr: Annotated[
        float | None,
        Parameter("learning rate of pilot and decoder", above=0, grid=(1e-3, 3e-3)),
    ] = None
    critic_lr: Annotated[
        float | None, Parameter("learning rate of the critic", above=0, grid=(3e-3, 1e-3))
    ] = None
    decoder_loss: DecoderLoss = None

    @classmethod
    def paper(cls) -> Self:
        """The published rates and loss, for clients that learn at 1e-5 for 10,000 batches."""
        return replace(super().paper(), decoder_loss="mse")

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one critic step, the first rates that a rehearsal compares, and MSE."""
        return cls(
            width=4, blocks=1, critic_steps=1, lr=1e-3, critic_lr=3e-3, decoder_loss="mse"
        )  # fmt: skip

    def refuses(self, task: Task) -> str | None:
        """Refuse a loss that doesn't suit the inputs."""
        return unfit(self.decoder_loss, task.input_shape, name="decoder_loss")

    def candidates(self, setup: TrainingSetup) -> Sequence[Self]:
        """Every combination of open rates; further losses with the first of them."""
        return with_objectives(self, setup.task.input_shape, name="decoder_loss")

    def step(self, trio: Trio, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The paper's step: L is the mean loss of the reconstructions of aux samples."""
        codes = trio.codes(x)
        loss = loss_of(self.decoder_loss, tuple(x.shape[1:]))
        L = loss(trio.reader(codes), x).mean()
        return hijack(self, trio, L, codes.detach(), z)

    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """The paper's pilot, which is linear."""
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
        how: the losses of critic and client, and their weights.
        trio: the networks.
        L: the loss of pilot and reader, a scalar with its graph.
        codes: what the pilot sent for aux samples, (B, ...), without a graph.
        z: the client's smashed data, (B, ...).

    Returns:
        The gradient that the client gets: that of L_f at z, times `scale`, (B, ...).
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
    """The critic's loss L_D; `scores` are D(z), (B, 1)."""
    if how.loss == "bce":
        return binary_loss(D(codes), scores) / 2
    gap = D(codes).mean() - scores.mean()
    return gap + how.penalty * gradient_penalty(D, z, codes, over=how.penalty_over)
