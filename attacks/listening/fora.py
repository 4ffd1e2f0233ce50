"""FORA: a substitute client that is aligned with the victim's in feature space.

Adversary: an honest-but-curious server (or an eavesdropper) that hears smashed data z while the
victim trains, and holds samples of its own x' from a similar domain. It needs neither labels nor
queries, neither the client's architecture nor the server's network.

Idea (Xu et al. 2024): smashed data betray what the client's network prefers to represent. Per
heard batch, with as many own samples x', in this order:
    substitute f^:  a MK-MMD^2(f^(x'), z) + (1 - a) E[D(f^(x'))],
    decoder d:      || d(f^(x')) - x' ||^2, of f^ as it is by then,
    critic D:       E[D(z)] - E[D(f^(x'))] + 1000 E[(|| grad D(z^) || - 1)^2],
with z^ at random between both and the first line's f^(x'). At the end x = d(z). MK-MMD
sums five Gaussian kernels (`sltoolkit.metrics.discrepancy`). R releases of a target are averaged.

Where the defense's public parameters (mechanism) are known, f^ sends through an own copy of it, so
that defended codes are aligned with defended ones, and d learns to decode those. Else f^ is aligned
as it is, noise or not. Of a defense that learns, the copy is as it began, which may mislead.

a = 0.8, as the authors run it; their code's default of a = 1 switches the critic off.

Departures from the paper's public code:
1. Learning rates are the authors' (1e-4; D 3e-4), who make 40,000 steps; victims here train for
   hundreds of batches. `repeats` makes several steps per batch, and after the training d learns
   from the finished f^ in evaluation mode for `polish` epochs; repeats=1, polish=0 is the code.
2. Targets are released by the deployed client in evaluation mode; the code attacks what it sends in
   training mode.
3. f^ is the beginning of VGG-16 with BatchNorm, as in the code, of as many stages as the shapes
   tell. If the first smashed data are negative somewhere, a plain convolution ends it: the code's
   ReLU could never match them.
4. Own samples are drawn with replacement. A batch of one sample teaches nothing.
5. Images are in [0, 1], for f^ and d as for the client; the code has all in [-1, 1].
6. The critic strides to sides of 4, and MK-MMD lacks the code's constant 2 / (n - 1).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.learner import Learner, Losses, learn
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.rehearsal import chosen, settings, settled
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.networks.critics import gradient_penalty, residual_critic, wasserstein_loss
from sltoolkit.networks.inverse import decode, fit_inverse
from sltoolkit.networks.substitutes import pooled_substitute, transposed_decoder
from sltoolkit.streams import Stream

SHARES, RATES, CRITIC_RATES = (0.8, 1.0), (1e-4, 1e-3, 1e-2), (3e-4, 3e-3)
"""What a dress rehearsal compares."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FORASetup:
    """What it has when the training begins."""

    aux: Aux
    task: Task
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FORAView:
    """What it has at the end."""

    smashed: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class FORA(Listener[FORASetup]):
    """Reconstruct inputs with the inverse of a substitute that was aligned with the client.

    `mmd_share`, `lr` and (on request) `critic_lr` of None are chosen by a dress rehearsal, when the
    first batch is heard: six settings by default, 450 batches each
    (`sltoolkit.adversary.training_rehearsal`). The rehearsal's own victims learn from labels of the
    own samples; `paper()` needs none.

    Attributes:
        mmd_share: a, what MK-MMD counts for beside the critic; 1: there is no critic.
        lr: of the substitute and the decoder.
        critic_lr: of the critic.
        penalty: weight of the gradient penalty.
        repeats: steps per heard batch.
        width: channels of the widest layers of critic and decoder; the paper's is 256.
        blocks: residual blocks of the critic.
        polish: further epochs of the decoder on the finished substitute.
        polish_lr: their initial learning rate.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper")
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = FORASetup
    view: ClassVar[type] = FORAView
    citation: ClassVar[str] = (
        "Xu et al. 2024, A stealthy wrongdoer: Feature-oriented reconstruction attack against "
        "split learning (CVPR; arXiv:2405.04115)"
    )

    mmd_share: float | None = None
    lr: float | None = None
    critic_lr: float | None = 3e-4
    penalty: float = 1000.0
    repeats: int = 1
    width: int = 256
    blocks: int = 6
    polish: int = 20
    polish_lr: float = 2e-3

    @classmethod
    def paper(cls) -> Self:
        """The authors' rates and weights; nothing is rehearsed."""
        return cls(mmd_share=SHARES[0], lr=RATES[0])

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one epoch at the end, the authors' rates and weights."""
        return replace(cls.paper(), width=4, blocks=1, polish=1)

    @property
    def rehearses(self) -> bool:
        """Unless everything is given."""
        return None in (self.mmd_share, self.lr, self.critic_lr)

    def open(self, setup: FORASetup, *, rng: Stream) -> ListenerState:
        """Attach."""
        return Alignment(self, setup, rng)

    def candidates(self, setup: FORASetup) -> Sequence[Self]:
        """Every combination of what is open; without a critic, its rate makes no difference."""
        options = settings(self, mmd_share=SHARES, lr=RATES, critic_lr=CRITIC_RATES)
        first = options[0].critic_lr
        return [s for s in options if s.mmd_share != 1 or s.critic_lr == first]


@final
class Aligned:
    """The substitute f^, its decoder d and (unless a = 1) the critic D.

    Args:
        attack: hyper-parameters, none of them open.
        setup: shapes and own samples.
        first: the first smashed data heard, (B, ...).
        rng: for the defense; all else draws from the open scope.
    """

    def __init__(self, attack: FORA, setup: FORASetup, first: Tensor, rng: Stream) -> None:
        task, like = setup.task, setup.aux.x
        signed, lr = bool((first < 0).any()), settled(attack.lr, "lr")
        self.penalty, self.mmd_share = attack.penalty, settled(attack.mmd_share, "mmd_share")
        self.substitute = Learner(
            pooled_substitute(task.input_shape, task.smashed_shape, signed=signed), like, lr
        )
        self.decoder = Learner(
            transposed_decoder(
                task.smashed_shape, task.input_shape, width=attack.width, normed=True
            ), like, lr,
        )  # fmt: skip
        self.critic: Learner | None = None
        if self.mmd_share < 1:
            judge = residual_critic(task.smashed_shape, width=attack.width, blocks=attack.blocks)
            self.critic = Learner(judge, like, settled(attack.critic_lr, "critic_lr"))
        self._mechanism, self._rng = setup.mechanism, rng
        self._defense = OwnDefense(setup.mechanism, rng.child("defense"))
        self.losses = Losses()

    def codes(self, x: Tensor) -> Tensor:
        """What the substitute sends of own samples (B, ...)."""
        return self._defense(self.substitute(x), x)

    def step(self, z: Tensor, x: Tensor) -> None:
        """One step of each, in the code's order, on what was heard and as many own samples.

        Args:
            z: smashed data, (B, ...).
            x: own samples, (B, ...).
        """
        a, critic = self.mmd_share, self.critic
        codes = self.codes(x)
        unlike = mk_mmd(codes, z)
        judged = a * unlike if critic is None else a * unlike + (1 - a) * critic(codes).mean()
        learn((judged, [self.substitute]))
        with torch.no_grad():
            fresh = self.codes(x)
        error = functional.mse_loss(self.decoder(fresh), x)
        learn((error, [self.decoder]))
        self.losses.note(mmd=unlike, decoder_loss=error)
        if critic is not None:
            codes = codes.detach()
            penalty = gradient_penalty(critic, codes, z)
            gap = wasserstein_loss(critic(z), critic(codes))
            learn((gap + self.penalty * penalty, [critic]))
            self.losses.note(critic_gap=gap)

    def inverse(self, x: Tensor, *, epochs: int, lr: float, repeats: int = 1) -> nn.Module:
        """A copy of the decoder, after further epochs with the substitute as it is now.

        Args:
            x: own samples, (N, ...).
            epochs: passes, each with fresh draws of the defense.
            lr: the initial learning rate.
            repeats: releases whose mean is decoded.
        """
        decoder = copy.deepcopy(self.decoder.network)
        codes = decode(copy.deepcopy(self.substitute.network), x)
        own = OwnDefense(self._mechanism, self._rng.fresh("defense"))
        return fit_inverse(
            lambda _: own.apart(codes, x, draws=repeats), x,
            network=decoder, epochs=epochs, lr=lr,
        )  # fmt: skip


@final
class Alignment(ListenerState):
    """FORA's ear.

    Attributes:
        aligned: its networks; None before the first batch.
    """

    def __init__(self, attack: FORA, setup: FORASetup, rng: Stream) -> None:
        self._given, self._setup, self._rng = attack, setup, rng
        self._attack = attack
        self.aligned: Aligned | None = None

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch's smashed data."""
        z = heard.messages.get(("smashed", "in"))
        if z is None or len(z) < 2:
            return
        aligned = self.aligned or self._begin(z, heard)
        own = self._setup.aux.x
        for _ in range(self._attack.repeats):
            rows = torch.randint(len(own), (len(z),), device=own.device)
            aligned.step(z, own[rows])

    def _begin(self, z: Tensor, heard: BatchView) -> Aligned:
        self._attack = self._given.tune(self._setup, heard, rng=self._rng.child("rehearsal"))
        self.aligned = Aligned(self._attack, self._setup, z, self._rng.child("substitute"))
        return self.aligned

    def finish(self, view: FORAView) -> Reconstruction:
        """Decode the targets.

        Raises:
            SpecError: if nothing was heard.
        """
        if self.aligned is None:
            raise SpecError(
                "FORA heard no batch to learn from: train the victim, or listen earlier"
            )
        with self._rng.fresh("finish").scope():
            decoder = self.aligned.inverse(
                self._setup.aux.x, epochs=self._attack.polish, lr=self._attack.polish_lr,
                repeats=len(view.smashed),
            )  # fmt: skip
        return Reconstruction(
            images=decode(decoder, view.smashed.mean(0)),
            tuned=chosen(self._given, self._attack),
            diagnostics=self.aligned.losses.diagnostics(),
            curve=self.aligned.losses.curve("mmd"),
        )
