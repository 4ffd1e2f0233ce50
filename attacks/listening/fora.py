"""FORA: a substitute client that is aligned with the victim's in feature space.

Adversary: an honest-but-curious server (or an eavesdropper) that hears smashed data z while the
victim trains, and holds samples of its own x' from a similar domain. It needs neither labels nor
queries, neither the client's architecture nor the server's network.

Idea (Xu et al. 2024): smashed data betray what the client's network prefers to represent. Per
heard batch, with as many own samples x', in this order:
    substitute f^:  a MK-MMD^2(f^(x'), z) + (1 - a) E[D(f^(x'))],
    decoder d:      || d(f^(x')) - x' ||^2, with f^ after its step,
    critic D:       E[D(z)] - E[D(f^(x'))] + 1000 E[(|| grad D(z^) || - 1)^2],
with z^ at random between both and the first line's f^(x'). At the end x = d(z). MK-MMD
sums five Gaussian kernels (`sltoolkit.metrics.discrepancy`). R releases of a target are averaged.

Where the defense's public parameters (mechanism) are known, f^ sends through its own copy of it, so
that defended codes are aligned with defended ones, and d learns to decode those. Else f^ is aligned
as it is, noise or not. The copy of a defense that learns stays as it began, which may mislead.

a = 0.8, as the authors run it; their code's default of a = 1 switches the critic off.

Departures from the paper's public code:
1. Learning rates are the authors' (1e-4; D 3e-4), who make 40,000 steps; victims here train for
   hundreds of batches. `repeats` makes several steps per batch, and after the training d learns
   from the finished f^ in evaluation mode for `polish` epochs; repeats=1, polish=0 is the code.
2. Targets are released by the deployed client in evaluation mode; the code attacks what it sends in
   training mode.
3. f^ is the beginning of VGG-16 with BatchNorm, as in the code; its number of stages follows from
   the shapes. If the first smashed data are negative somewhere, a plain convolution ends it: the
   code's ReLU could never match them.
4. Own samples are drawn with replacement. A batch of one sample teaches nothing.
5. Images are in [0, 1], for f^ and d as for the client; the code has all in [-1, 1].
6. The critic strides to sides of 4, and MK-MMD lacks the code's constant 2 / (n - 1).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.learner import Learner, Losses, learn
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.networks.critics import gradient_penalty, residual_critic, wasserstein_loss
from sltoolkit.networks.inverse import decode, fit_inverse
from sltoolkit.networks.substitutes import pooled_substitute, transposed_decoder
from sltoolkit.parameters.grids import given
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FORASetup:
    """What FORA has when the training begins: it needs no architecture of the client."""

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

    `mmd_share`, `lr` and (on request) `critic_lr` of None are chosen by a dress rehearsal, when the
    first batch is heard: six settings by default, 450 batches each
    (`sltoolkit.adversary.training_rehearsal`). The rehearsal's own victims learn from labels of the
    own samples; `paper()` needs none.
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
            "a, the share of MK-MMD beside the critic; 1: there is no critic", least=0, most=1,
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
    penalty: Annotated[float, Parameter("weight of the gradient penalty", least=0)] = 1000.0
    repeats: Annotated[int, Parameter("steps per heard batch", least=1)] = 1
    width: Annotated[
        int,
        Parameter(
            "channels of the widest layers of critic and decoder; the paper has 256", least=1
        ),
    ] = 256
    blocks: Annotated[int, Parameter("residual blocks of the critic", least=0)] = 6
    polish: Annotated[
        int, Parameter("further epochs of the decoder on the finished substitute", least=0)
    ] = 20
    polish_lr: Annotated[float, Parameter("initial learning rate of these epochs", above=0)] = 2e-3

    @classmethod
    def paper(cls) -> Self:
        """The authors' rates and weights; nothing is rehearsed."""
        return cls(mmd_share=0.8, lr=1e-4)

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, one epoch at the end, the authors' rates and weights."""
        return replace(cls.paper(), width=4, blocks=1, polish=1)

    def usable(self, heard: BatchView, before: int) -> bool:
        """Every batch with at least two smashed data: BatchNorm can't learn from one."""
        z = heard.messages.get(("smashed", "in"))
        return z is not None and len(z) > 1

    def open(self, setup: FORASetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Make substitute, decoder and critic."""
        aligned = Aligned(self, setup, first.messages["smashed", "in"], rng.child("substitute"))
        return Alignment(aligned, rng)

    def candidates(self, setup: FORASetup) -> Sequence[Self]:
        """Every combination of what is open; without a critic, its rate makes no difference."""
        options = super().candidates(setup)
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

    Attributes:
        own: inputs of own samples, (N, ...).
    """

    def __init__(self, attack: FORA, setup: FORASetup, first: Tensor, rng: Stream) -> None:
        task, self.own = setup.task, setup.aux.x
        self.attack, signed = attack, bool((first < 0).any())
        self.mmd_share, lr, critic_lr = given(attack.mmd_share, attack.lr, attack.critic_lr)
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
            learn((gap + self.attack.penalty * penalty, [critic]))
            self.losses.note(critic_gap=gap)

    def inverse(self, releases: int) -> nn.Module:
        """A copy of the decoder, polished with the substitute as it is now.

        Args:
            releases: of a target, whose mean is to be decoded.
        """
        decoder = copy.deepcopy(self.decoder.network)
        codes = decode(copy.deepcopy(self.substitute.network), self.own)
        defense = OwnDefense(self._mechanism, self._rng.fresh("defense"))
        return fit_inverse(
            lambda _: defense.apart(codes, self.own, draws=releases), self.own,
            network=decoder, epochs=self.attack.polish, lr=self.attack.polish_lr,
        )  # fmt: skip


@final
class Alignment(ListenerState):
    """FORA, as it listens.

    Attributes:
        aligned: its networks.
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
