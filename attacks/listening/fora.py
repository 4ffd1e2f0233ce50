"""FORA: a substitute client that is aligned with the victim's in feature space.

Adversary: an honest-but-curious server (or an eavesdropper) that hears smashed data z while the
victim trains, and holds samples x' of its own (aux) from a similar domain. It needs no labels, no
queries, and neither the client's architecture nor the server's network.

Idea (Xu et al. 2024): smashed data betray what the client's network prefers to represent. For each
heard batch, and equally many aux samples x', three networks take a step, in this order:
    substitute f^:  a MK-MMD^2(f^(x'), z) + (1 - a) E[D(f^(x'))],
    decoder d:      loss(d(f^(x')), x'), with f^ after its step,
    critic D:       E[D(z)] - E[D(f^(x'))] + 1000 E[(|| grad D(z^) || - 1)^2],
with z^ at a random point between both; D sees the f^(x') of the first line. At the end x = d(z).
MK-MMD sums five Gaussian kernels (`sltoolkit.metrics.discrepancy`). The loss is one by which
reconstructions are judged (`sltoolkit.metrics.losses`). R releases of a target are averaged.

If the defense's public parameters (mechanism) are known, f^ sends through its own copy of the
defense. So defended codes are aligned with defended ones, and d learns to decode those. Otherwise
the undefended f^ is aligned with whatever arrives, noise included. The copy of a defense that
learns stays as it began, which may mislead.

In `paper()` a = 0.8, the value that the authors use. Their code's default, a = 1, switches the
critic off.

Departures from the paper's public code:
1. The authors make 40,000 steps at 1e-4 (D: 3e-4); victims here train for hundreds of batches. So a
   rehearsal may choose larger rates, `repeats` allows several steps per batch, and after the
   training d learns from the finished f^ in evaluation mode for `polish` steps. The code has
   repeats=1 and polish=0.
2. Targets are released by the deployed client in evaluation mode. The code attacks what the client
   sends in training mode.
3. f^ is the beginning of VGG-16 with BatchNorm, as in the code; its number of stages follows from
   the shapes. If some of the first smashed data are negative, f^ ends in a plain convolution,
   since the code's ReLU could never match them.
4. Aux samples are drawn with replacement. A batch of one sample is not learned from.
5. Images are in [0, 1] for f^, d and the client. The code has all of them in [-1, 1].
6. The critic strides down to sides of 4, and MK-MMD lacks the code's constant 2 / (n - 1).
7. A rehearsal compares losses. The authors minimize the squared error (`loss="mse"`).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Learner, Losses, learn
from sltoolkit.adversary.objectives import DecoderLoss, loss_of, unfit, with_objectives
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.networks.critics import gradient_penalty, residual_critic, wasserstein_loss
from sltoolkit.networks.fitting import BATCH, Fit, decode, fit_inverse
from sltoolkit.networks.substitutes import pooled_substitute, transposed_decoder
from sltoolkit.parameters.grids import given
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

POLISH_STEPS = 300
"""The final steps that the decoder needs even with a few samples."""

POLISH_PASSES = 20
"""The final passes over many samples that it needs."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FORASetup:
    """What FORA has when the training begins."""

    aux: Aux
    task: Task
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FORAView:
    """What FORA has at the end."""

    smashed: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class FORA(Listener[FORASetup]):
    """Reconstruct inputs with the inverse of a substitute that was aligned with the client.

    If `mmd_share`, `lr`, `critic_lr` or `loss` is None, a training rehearsal chooses it when the
    first batch is heard. By default it compares six settings and, for images, two further losses;
    each listens to 450 batches (`sltoolkit.adversary.training_rehearsal`). The rehearsal's victims
    learn the task, for which it needs labels of aux samples; `paper()` needs none.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper")
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = FORASetup
    view: ClassVar[type] = FORAView
    citation: ClassVar[str] = (
        "Xu et al. 2024, A stealthy wrongdoer: Feature-oriented reconstruction attack against "
        "split learning (CVPR; arXiv:2405.04115)"
    )

    mmd_share: Annotated[
        float | None,
        Parameter(
            "a: the weight of MK-MMD; the critic weighs 1 - a; 1: there is no critic", least=0,
            most=1,
            grid=(0.8, 1.0),
        ),
    ] = None  # fmt: skip
    lr: Annotated[
        float | None,
        Parameter("learning rate of substitute and decoder", above=0, grid=(1e-4, 1e-3, 1e-2)),
    ] = None
    critic_lr: Annotated[
        float | None, Parameter("learning rate of the critic", above=0, grid=(3e-4, 3e-3))
    ] = 3e-4
    loss: DecoderLoss = None
    penalty: Annotated[float, Parameter("weight of the gradient penalty", least=0)] = 1000.0
    repeats: Annotated[int, Parameter("steps per heard batch", least=1)] = 1
    width: Annotated[
        int,
        Parameter("channels of the widest layers of critic and decoder; 256 in the paper", least=1),
    ] = 256
    blocks: Annotated[int, Parameter("residual blocks of the critic", least=0)] = 6
    polish: Annotated[
        int | None,
        Parameter(
            "final steps of the decoder on the finished substitute; None: 300, or 20 passes over "
            "aux if these are more",
            least=0,
        ),
    ] = None
    polish_lr: Annotated[float, Parameter("initial learning rate of these steps", above=0)] = 2e-3

    @classmethod
    def paper(cls) -> Self:
        """The authors' rates, weights and loss; there is no rehearsal."""
        return cls(mmd_share=0.8, lr=1e-4, loss="mse")

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one step at the end, and the authors' rates, weights and loss."""
        return replace(cls.paper(), width=4, blocks=1, polish=1)

    def refuses(self, task: Task) -> str | None:
        """Refuse a loss that doesn't suit the inputs."""
        return unfit(self.loss, task.input_shape)

    def usable(self, heard: BatchView, before: int) -> bool:
        """Whether the batch has at least two smashed data: BatchNorm can't learn from one."""
        z = heard.messages.get(("smashed", "in"))
        return z is not None and len(z) > 1

    def open(self, setup: FORASetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Make substitute, decoder and critic."""
        aligned = Aligned(self, setup, first.messages["smashed", "in"], rng.child("substitute"))
        return Alignment(aligned, rng)

    def candidates(self, setup: FORASetup) -> Sequence[Self]:
        """Every combination of open rates and weights; further losses with the first of them.

        Without a critic, only one of its rates is compared.
        """
        options = with_objectives(self, setup.task.input_shape)
        first = options[0].critic_lr
        return [s for s in options if s.mmd_share != 1 or s.critic_lr == first]


@final
class Aligned:
    """The substitute f^, its decoder d and (unless a = 1) the critic D.

    Args:
        attack: its parameters, none of them open.
        setup: shapes, aux samples and what is known of the defense.
        first: the first smashed data heard, (B, ...).
        rng: for the defense; all else draws from the open scope.

    Attributes:
        own: the inputs of the aux samples, (N, ...).
        loss: what d minimizes.
    """

    def __init__(self, attack: FORA, setup: FORASetup, first: Tensor, rng: Stream) -> None:
        task, self.own = setup.task, setup.aux.x
        self.attack, signed = attack, bool((first < 0).any())
        self.mmd_share, lr, critic_lr = given(attack.mmd_share, attack.lr, attack.critic_lr)
        self.loss = loss_of(attack.loss, task.input_shape)
        self.substitute = Learner(
            pooled_substitute(task.input_shape, task.smashed_shape, signed=signed), self.own, lr
        )
        self.decoder = Learner(
            transposed_decoder(
                task.smashed_shape, task.input_shape, width=attack.width, normed=True
            ), self.own, lr,
        )  # fmt: skip
        self.critic: Learner | None = None
        if self.mmd_share < 1:
            judge = residual_critic(task.smashed_shape, width=attack.width, blocks=attack.blocks)
            self.critic = Learner(judge, self.own, critic_lr)
        self._mechanism, self._rng = setup.mechanism, rng
        self._defense = OwnDefense(setup.mechanism, rng.child("defense"))
        self.losses = Losses()

    def codes(self, x: Tensor) -> Tensor:
        """What the substitute sends for aux samples (B, ...)."""
        return self._defense(self.substitute(x), x)

    def step(self, z: Tensor, x: Tensor) -> None:
        """One step of each network, in the code's order.

        Args:
            z: the smashed data heard, (B, ...).
            x: equally many aux samples, (B, ...).
        """
        a, critic = self.mmd_share, self.critic
        codes = self.codes(x)
        unlike = mk_mmd(codes, z)
        judged = a * unlike if critic is None else a * unlike + (1 - a) * critic(codes).mean()
        learn((judged, [self.substitute]))
        with torch.no_grad():
            fresh = self.codes(x)
        error = self.loss(self.decoder(fresh), x).mean()
        learn((error, [self.decoder]))
        self.losses.note(mmd=unlike, decoder_loss=error)
        if critic is not None:
            codes = codes.detach()
            penalty = gradient_penalty(critic, codes, z)
            gap = wasserstein_loss(critic(z), critic(codes))
            learn((gap + self.attack.penalty * penalty, [critic]))
            self.losses.note(critic_gap=gap)

    def inverse(self, releases: int) -> nn.Module:
        """A copy of the decoder, trained further with the substitute as it is now.

        Args:
            releases: how many releases of a target are averaged before they are decoded.
        """
        decoder = copy.deepcopy(self.decoder.network)
        codes = decode(copy.deepcopy(self.substitute.network), self.own)
        defense = OwnDefense(self._mechanism, self._rng.fresh("defense"))
        steps = self.attack.polish
        if steps is None:
            steps = max(POLISH_STEPS, POLISH_PASSES * math.ceil(len(self.own) / BATCH))
        how = Fit(steps=steps, lr=self.attack.polish_lr, loss=self.loss)
        return fit_inverse(
            decoder, lambda rows: defense.apart(codes[rows], self.own[rows], draws=releases),
            self.own, how=how,
        )  # fmt: skip


@final
class Alignment(ListenerState):
    """FORA while it listens.

    Attributes:
        aligned: the attacker's networks.
    """

    def __init__(self, aligned: Aligned, rng: Stream) -> None:
        self.aligned, self._rng = aligned, rng

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch's smashed data."""
        z, own = heard.messages["smashed", "in"], self.aligned.own
        for _ in range(self.aligned.attack.repeats):
            rows = torch.randint(len(own), (len(z),), device=own.device)
            self.aligned.step(z, own[rows])

    def finish(self, view: FORAView) -> Reconstruction:
        """Decode the targets."""
        with self._rng.fresh("finish").scope():
            decoder = self.aligned.inverse(len(view.smashed))
        return Reconstruction(
            images=decode(decoder, view.smashed.mean(0)),
            diagnostics=self.aligned.losses.diagnostics(),
            curve=self.aligned.losses.curve("mmd"),
        )
