"""SDAR: a simulator of the client and a decoder, both regularized by adversaries.

Adversary: an honest-but-curious server that hears smashed data z and (in vanilla split learning)
labels y, holds its own network g at every moment, and has labeled samples (x', y') of the same
distribution. The paper lets it know the client's architecture; here that is an optional grant.

Idea (Zhu et al. 2025). After every honest step of the training, which z was computed before:
    e    follows  CE(g(e(x')), y') + lambda1 * BCE(D_e(e(x'), y'), real),
    D_e  follows  BCE(D_e(z, y), real) + BCE(D_e(e(x'), y'), fake),
    d    follows  ||d(e(x'), y') - x'||^2 + lambda2 * BCE(D_d(d(z, y), y), real),
    D_d  follows  BCE(D_d(x', y'), real) + BCE(D_d(d(z, y), y), fake),
with g frozen in inference mode, e as it is after its own step in the lines of d and D_d, and a mean
over pixels in the squared error. The simulator learns to make what g can read, D_e that it looks
like the client's own, and D_d that what is decoded looks like a sample. At the end x = d(z, y).

In a U-shape the server hears no labels: the networks see none, a tail simulator learns the task's
loss together with e, and y' is drawn anew from all classes with probability `flip`, which keeps e
from learning x' by heart. Argmax of the tail behind g(z) guesses the targets' labels.

R releases of a target are averaged. Where the defense's public parameters (mechanism) are known, e
sends through an own copy of it, so that D_e compares, and d decodes, what is sent. Of a defense
that learns, the copy is as it began, which may mislead.

Rates: Adam 1e-3 for e (and the tail), 5e-4 for d, lambda1 times e's for D_e, lambda2 times d's for
D_d. With lambda2 = 1e-5 the latter is as good as frozen; the public code has it so, too. For
U-shapes the code has lambda1 = 0.02 (ResNet, CIFAR-10) or 0.04, flip = 0.2 (ResNet), 0.1 or 0.4.
lambda1 = lambda2 = 0 without labels (and without flipping) is the paper's naive simulator attack.

Departures from the paper and its code:
1. Critics are a quarter as wide by default (`critic_width` 8, `image_critic_width` 16, where the
   code has 32 and 64), which makes a step 16 times as cheap.
2. The decoder is the toolkit's inverse network, which starts at the mean of aux and takes smashed
   data of any shape; the code has one for its own ResNets. Without the architecture, e is the
   beginning of VGG-16 with BatchNorm (`sltoolkit.networks.substitutes`).
3. Targets are released by the deployed client, in evaluation mode; the code attacks what it sends
   in training mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.learner import Learner, learn
from sltoolkit.adversary.rehearsal import chosen, settings, settled
from sltoolkit.attacks.listening._substitute import (
    Batch,
    Substitute,
    SubstituteSetup,
    SubstituteView,
    started,
)
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.critics import as_real, binary_loss, feature_critic, image_critic
from sltoolkit.networks.inverse import decode
from sltoolkit.streams import Stream

LAMBDAS, RATES, DECODER_RATES = (0.02, 0.2), (1e-3, 3e-3), (5e-4, 2e-3)
"""What a dress rehearsal compares."""


@final
@dataclass(frozen=True, kw_only=True)
class SDAR(Listener[SubstituteSetup]):
    """Reconstruct inputs with a simulator that was trained beside the victim, and its decoder.

    `lr`, `decoder_lr` and (on request) `lambda1` of None are chosen by a dress rehearsal, when the
    first batch is heard: four settings by default, 450 batches each
    (`sltoolkit.adversary.training_rehearsal`).

    Attributes:
        lambda1: how much the simulator minds its critic; 0: it has none.
        lambda2: how much the decoder minds its critic; 0: it has none.
        flip: share of own labels that are drawn anew, where no labels are heard.
        conditional: whether decoder and critics see labels, where these are heard.
        lr: learning rate of the simulator (and its tail).
        decoder_lr: learning rate of the decoder.
        repeats: steps per heard batch.
        width: channels of the decoder at full resolution.
        critic_width: of the simulator's critic.
        image_critic_width: of the decoder's critic.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = SubstituteSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = (
        "Zhu et al. 2025, Passive inference attacks on split learning via adversarial "
        "regularization (NDSS; arXiv:2310.10483)"
    )

    lambda1: float | None = 0.02
    lambda2: float = 1e-5
    flip: float = 0.2
    conditional: bool = True
    lr: float | None = None
    decoder_lr: float | None = None
    repeats: int = 1
    width: int = 16
    critic_width: int = 8
    image_critic_width: int = 16

    @classmethod
    def paper(cls) -> Self:
        """The paper's rates; nothing is rehearsed."""
        return cls(lr=RATES[0], decoder_lr=DECODER_RATES[0])

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, the paper's rates."""
        return replace(cls.paper(), width=4, critic_width=2, image_critic_width=2)

    @property
    def rehearses(self) -> bool:
        """Unless everything is given."""
        return None in (self.lambda1, self.lr, self.decoder_lr)

    def open(self, setup: SubstituteSetup, *, rng: Stream) -> ListenerState:
        """Attach."""
        return Simulation(self, setup, rng)

    def candidates(self, setup: SubstituteSetup) -> Sequence[Self]:
        """Every combination of what is open."""
        return settings(self, lambda1=LAMBDAS, lr=RATES, decoder_lr=DECODER_RATES)


@final
class Simulation(ListenerState):
    """SDAR's ear: simulator, decoder and their critics.

    Attributes:
        substitute: simulator, decoder and tail; None before the first batch.
        feature_critic: D_e; None before the first batch, or with lambda1 = 0.
        image_critic: D_d; None before the first batch, or with lambda2 = 0.
    """

    def __init__(self, attack: SDAR, setup: SubstituteSetup, rng: Stream) -> None:
        self._given, self._setup, self._rng = attack, setup, rng
        self._attack = attack
        self._lambda1 = 0.0
        self.substitute: Substitute | None = None
        self.feature_critic: Learner | None = None
        self.image_critic: Learner | None = None

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch."""
        batch = Batch.of(heard)
        if batch is None:
            return
        substitute = self.substitute or self._begin(batch, heard)
        substitute.server = batch.server
        for _ in range(self._attack.repeats):
            x, y = substitute.draw(len(batch.z))
            if batch.y is None:
                y = substitute.flipped(y, self._attack.flip)
            self._simulate(substitute, batch, x, y)
            self._decode(substitute, batch, x, y)

    def finish(self, view: SubstituteView) -> Reconstruction:
        """Decode the targets."""
        substitute = started(self.substitute, view, "SDAR")
        y, z = view.labels if substitute.conditional else None, view.smashed.mean(0)
        return Reconstruction(
            images=decode(substitute.decoder.network, z, y),
            tuned=chosen(self._given, self._attack),
            diagnostics=substitute.losses.diagnostics(),
            curve=substitute.losses.curve("decoder_loss"),
            model=substitute.whole,
            guess=substitute.guess(z),
        )

    def _begin(self, batch: Batch, heard: BatchView) -> Substitute:
        task, like = self._setup.task, self._setup.aux.x
        attack = self._given.tune(self._setup, heard, rng=self._rng.child("rehearsal"))
        self._attack, self._lambda1 = attack, settled(attack.lambda1, "lambda1")
        lr, decoder_lr = settled(attack.lr, "lr"), settled(attack.decoder_lr, "decoder_lr")
        self.substitute = Substitute(
            self._setup, batch, conditional=attack.conditional, lr=lr, decoder_lr=decoder_lr,
            width=attack.width, rng=self._rng.child("client"),
        )  # fmt: skip
        classes = task.classes if self.substitute.conditional else None
        if self._lambda1:
            critic = feature_critic(task.smashed_shape, classes=classes, width=attack.critic_width)
            self.feature_critic = Learner(critic, like, self._lambda1 * lr)
        if attack.lambda2:
            critic = image_critic(
                task.input_shape, classes=classes, width=attack.image_critic_width
            )
            self.image_critic = Learner(critic, like, attack.lambda2 * decoder_lr)
        return self.substitute

    def _simulate(self, substitute: Substitute, batch: Batch, x: Tensor, y: Tensor) -> None:
        """A step of simulator, tail and D_e; of one forward pass, as in the code."""
        codes = substitute.codes(x)
        task = substitute.task_loss(batch.server, codes, y)
        if self.feature_critic is None:
            learn((task, substitute.imitators))
            substitute.losses.note(task_loss=task)
            return
        fake = self.feature_critic(codes, *substitute.with_labels(y))
        real = self.feature_critic(batch.z, *substitute.with_labels(batch.y))
        learn(
            (task + self._lambda1 * as_real(fake), substitute.imitators),
            (binary_loss(real, fake), [self.feature_critic]),
        )
        substitute.losses.note(task_loss=task, critic_accuracy=_accuracy(real, fake))

    def _decode(self, substitute: Substitute, batch: Batch, x: Tensor, y: Tensor) -> None:
        """A step of decoder and D_d, of one forward pass, with the simulator as it is now."""
        with torch.no_grad():
            codes = substitute.codes(x)
        own, private = substitute.with_labels(y), substitute.with_labels(batch.y)
        error = functional.mse_loss(substitute.decoder(codes, *own), x)
        substitute.losses.note(decoder_loss=error)
        if self.image_critic is None:
            learn((error, [substitute.decoder]))
            return
        decoded_z = substitute.decoder(batch.z, *private)
        fake, real = self.image_critic(decoded_z, *private), self.image_critic(x, *own)
        learn(
            (error + self._attack.lambda2 * as_real(fake), [substitute.decoder]),
            (binary_loss(real, fake), [self.image_critic]),
        )
        substitute.losses.note(image_critic_accuracy=_accuracy(real, fake))


def _accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """The share of logits (B, 1) that say what is so; near 1, the critic is not confused."""
    return torch.cat([real > 0, fake < 0]).float().mean()
