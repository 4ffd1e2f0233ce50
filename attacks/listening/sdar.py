"""SDAR: a simulator of the client and a decoder, both regularized by adversarial critics.

Adversary: an honest-but-curious server that hears smashed data z and (in vanilla split learning)
labels y, holds its own network g at every moment, and has labeled samples (x', y') of the same
distribution (aux). The paper lets it know the client's architecture; here that is an optional
grant.

Idea (Zhu et al. 2025). After every honest step of the training, with the z of that step:
    e    follows  CE(g(e(x')), y') + lambda1 * BCE(D_e(e(x'), y'), real),
    D_e  follows  BCE(D_e(z, y), real) + BCE(D_e(e(x'), y'), fake),
    d    follows  loss(d(e(x'), y'), x') + lambda2 * BCE(D_d(d(z, y), y), real),
    D_d  follows  BCE(D_d(x', y'), real) + BCE(D_d(d(z, y), y), fake),
with g frozen in inference mode, and in the lines of d and D_d the simulator e after its own step.
The loss is one by which reconstructions are judged (`sltoolkit.metrics.losses`). The simulator
learns to send what g can read. D_e makes its codes look like the client's own, and D_d makes
decoded images look like samples. At the end x = d(z, y).

In a U-shape the server hears no labels. Then decoder and critics see no labels, a tail simulator
learns the task's loss together with e, and y' is drawn anew from all classes with probability
`flip`, which keeps e from learning x' by heart. The argmax of the tail behind g(z) guesses the
targets' labels.

R releases of a target are averaged. If the defense's public parameters (mechanism) are known, e
sends through its own copy of the defense, so that D_e compares defended codes and d decodes them.
The copy of a defense that learns stays as it began, which may mislead.

The rates of `paper()` are Adam's 1e-3 for e (and the tail) and 5e-4 for d. D_e has lambda1 times
the rate of e, and D_d has lambda2 times the rate of d. With lambda2 = 1e-5, D_d is as good as
frozen, as it is in the public code. For U-shapes the code has lambda1 = 0.02 (ResNet, CIFAR-10) or
0.04, and flip = 0.2 (ResNet), 0.1 or 0.4. With lambda1 = lambda2 = 0, without labels and without
flipping, SDAR is the paper's naive simulator attack.

Departures from the paper and its code:
1. Critics are a quarter as wide by default (`critic_width` 8 and `image_critic_width` 16; the code
   has 32 and 64), which makes a step 16 times cheaper.
2. The decoder is the toolkit's inverse network, which starts at the mean of aux and takes smashed
   data of any shape. The code has one for its own ResNets. Without the architecture, e is the
   beginning of VGG-16 with BatchNorm (`sltoolkit.networks.substitutes`).
3. Targets are released by the deployed client in evaluation mode. The code attacks what the client
   sends in training mode.
4. A rehearsal compares losses. The paper minimizes the squared error, a mean over pixels
   (`loss="mse"`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor

from sltoolkit.adversary.learner import Learner, learn
from sltoolkit.adversary.objectives import DecoderLoss, loss_of, unfit, with_objectives
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import Batch, Substitute, SubstituteView
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.critics import as_real, binary_loss, feature_critic, image_critic
from sltoolkit.networks.fitting import decode
from sltoolkit.parameters.grids import given
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class SDAR(Listener[TrainingSetup]):
    """Reconstruct inputs with a simulator that was trained beside the victim, and its decoder.

    If `lr`, `decoder_lr`, `lambda1` or `loss` is None, a training rehearsal chooses it when the
    first batch is heard. By default it compares four settings and, for images, two further losses;
    each listens to 450 batches (`sltoolkit.adversary.training_rehearsal`).
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = (
        "Zhu et al. 2025, Passive inference attacks on split learning via adversarial "
        "regularization (NDSS; arXiv:2310.10483)"
    )

    lambda1: Annotated[
        float | None,
        Parameter("weight of the simulator's critic; 0: it has none", least=0, grid=(0.02, 0.2)),
    ] = 0.02
    lambda2: Annotated[
        float, Parameter("weight of the decoder's critic; 0: it has none", least=0)
    ] = 1e-5
    flip: Annotated[
        float,
        Parameter(
            "share of aux labels that are drawn anew if no labels are heard", least=0, most=1
        ),
    ] = 0.2
    conditional: Annotated[
        bool, Parameter("whether decoder and critics see labels, if they are heard")
    ] = True
    lr: Annotated[
        float | None,
        Parameter("learning rate of the simulator and its tail", above=0, grid=(1e-3, 3e-3)),
    ] = None
    decoder_lr: Annotated[
        float | None, Parameter("learning rate of the decoder", above=0, grid=(5e-4, 2e-3))
    ] = None
    loss: DecoderLoss = None
    repeats: Annotated[int, Parameter("steps per heard batch", least=1)] = 1
    width: Annotated[int, Parameter("channels of the decoder at full resolution", least=1)] = 16
    critic_width: Annotated[int, Parameter("width of the simulator's critic", least=1)] = 8
    image_critic_width: Annotated[int, Parameter("width of the decoder's critic", least=1)] = 16

    @classmethod
    def paper(cls) -> Self:
        """The paper's rates and loss; there is no rehearsal."""
        return cls(lr=1e-3, decoder_lr=5e-4, loss="mse")

    @classmethod
    def smoke(cls) -> Self:
        """Narrow networks, and the paper's rates and loss."""
        return replace(cls.paper(), width=4, critic_width=2, image_critic_width=2)

    def refuses(self, task: Task) -> str | None:
        """Refuse a loss that doesn't suit the inputs."""
        return unfit(self.loss, task.input_shape)

    def usable(self, heard: BatchView, before: int) -> bool:
        """Whether the batch has at least two smashed data."""
        return Batch.usable(heard)

    def open(self, setup: TrainingSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Make simulator, decoder and critics."""
        return Simulation(self, setup, first, rng)

    def candidates(self, setup: TrainingSetup) -> Sequence[Self]:
        """Every combination of open rates and weights; further losses with the first of them."""
        return with_objectives(self, setup.task.input_shape)


@final
class Simulation(ListenerState):
    """SDAR while it listens: simulator, decoder and their critics.

    Attributes:
        substitute: simulator, decoder and tail.
        feature_critic: D_e; None if lambda1 = 0.
        image_critic: D_d; None if lambda2 = 0.
    """

    def __init__(self, attack: SDAR, setup: TrainingSetup, first: BatchView, rng: Stream) -> None:
        task, like = setup.task, setup.aux.x
        self._lambda1, lr, decoder_lr = given(attack.lambda1, attack.lr, attack.decoder_lr)
        self._attack, self._loss = attack, loss_of(attack.loss, task.input_shape)
        self.substitute = Substitute(
            setup, Batch.of(first), conditional=attack.conditional, lr=lr, decoder_lr=decoder_lr,
            width=attack.width, rng=rng.child("client"),
        )  # fmt: skip
        classes = task.classes if self.substitute.conditional else None
        self.feature_critic: Learner | None = None
        self.image_critic: Learner | None = None
        if self._lambda1:
            critic = feature_critic(task.smashed_shape, classes=classes, width=attack.critic_width)
            self.feature_critic = Learner(critic, like, self._lambda1 * lr)
        if attack.lambda2:
            critic = image_critic(
                task.input_shape, classes=classes, width=attack.image_critic_width
            )
            self.image_critic = Learner(critic, like, attack.lambda2 * decoder_lr)

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch."""
        batch, substitute = Batch.of(heard), self.substitute
        substitute.server = batch.server
        for _ in range(self._attack.repeats):
            x, y = substitute.draw(len(batch.z))
            if batch.y is None:
                y = substitute.flipped(y, self._attack.flip)
            self._simulate(batch, x, y)
            self._decode(batch, x, y)

    def finish(self, view: SubstituteView) -> Reconstruction:
        """Decode the targets."""
        substitute = self.substitute
        substitute.meet(view.server_weights)
        y, z = view.labels if substitute.conditional else None, view.smashed.mean(0)
        return Reconstruction(
            images=decode(substitute.decoder.network, z, y),
            diagnostics=substitute.losses.diagnostics(),
            curve=substitute.losses.curve("decoder_loss"),
            model=substitute.whole,
            guess=substitute.guess(z),
        )

    def _simulate(self, batch: Batch, x: Tensor, y: Tensor) -> None:
        """A step of simulator, tail and D_e from one forward pass, as in the code."""
        substitute = self.substitute
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

    def _decode(self, batch: Batch, x: Tensor, y: Tensor) -> None:
        """A step of decoder and D_d from one forward pass, with the simulator as it is now."""
        substitute = self.substitute
        with torch.no_grad():
            codes = substitute.codes(x)
        own, private = substitute.with_labels(y), substitute.with_labels(batch.y)
        error = self._loss(substitute.decoder(codes, *own), x).mean()
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
    """The share of logits (B, 1) that are right; near 1 the critic tells both kinds apart."""
    return torch.cat([real > 0, fake < 0]).float().mean()
