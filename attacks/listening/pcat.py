"""PCAT: a pseudo-client that learns through the server's network while the server learns.

Adversary: an honest-but-curious server that hears smashed data z and labels y and holds its own
network f_s at every moment, and a few labeled samples (x', y') of the same task (aux). It doesn't
know the client's weights, knows the client's architecture only if that is granted, and makes no
queries.

Idea (Gao and Zhang 2023, section 4 and algorithm 2). For every batch (z, y) of the training:
    x', y'  are aux samples with the labels of the batch (label alignment),
    f^  follows  min CE(f_s(f^(x')), y'),  f_s as it is now,
    d   follows  min loss(d(f^(x')), x'),
and at the end x = d(z). The loss is one by which reconstructions are judged
(`sltoolkit.metrics.losses`). This x is refined by descending on
mean over units (f^(x) - z)^2  with f^ frozen. f_s learns only from the honest gradients, so no
client can notice the attack. In a U-shape no labels are heard: x' are drawn at random, a
pseudo-tail turns the server's features into logits, and pseudo-tail(f_s(z)) guesses the victim's
labels.

R releases of a target are averaged. If the defense's public parameters (mechanism) are known, f^
sends through its own copy of the defense, as the victim does. Otherwise it can only imitate what
the server's network has learned to read. The copy of a defense that learns stays as it began, which
may mislead.

Departures from the paper:
1. The decoder learns together with f^ in every batch. The rates of `paper()`, 1e-3 (f^) and 5e-4
   (d), are those of the public re-implementation by Zhu et al. 2025.
2. Without the architecture, f^ is the beginning of VGG-16 with BatchNorm (see
   `sltoolkit.networks.substitutes`); d is the toolkit's inverse network, which starts at the mean
   of aux.
3. Refined images (and signals) stay in [0, 1]. The paper doesn't state the steps and the rate of
   the refinement.
4. Labels of the batch that no aux sample has are left out.
5. A rehearsal compares losses. The paper minimizes the squared error (`loss="mse"`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor

from sltoolkit.adversary.descended import Descended
from sltoolkit.adversary.descent import Descent, constant, squared_error
from sltoolkit.adversary.learner import learn
from sltoolkit.adversary.objectives import DecoderLoss, loss_of, unfit, with_objectives
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import Batch, Substitute, SubstituteView
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.metrics.losses import Loss
from sltoolkit.networks.fitting import decode
from sltoolkit.parameters.grids import given
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class PCAT(Listener[TrainingSetup]):
    """Reconstruct inputs with a pseudo-client that was trained beside the victim.

    If `lr`, `decoder_lr`, `refine_steps` or `loss` is None, a training rehearsal chooses it when
    the first batch is heard. By default it compares four settings and, for images, two further
    losses; each listens to 450 batches (`sltoolkit.adversary.training_rehearsal`).
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = (
        "Gao & Zhang 2023, PCAT: Functionality and data stealing from split learning by "
        "pseudo-client attack (USENIX Security)"
    )

    lr: Annotated[
        float | None,
        Parameter("learning rate of pseudo-client and pseudo-tail", above=0, grid=(1e-3, 3e-3)),
    ] = None
    decoder_lr: Annotated[
        float | None, Parameter("learning rate of the decoder", above=0, grid=(5e-4, 2e-3))
    ] = None
    loss: DecoderLoss = None
    late_start: Annotated[
        int,
        Parameter("heard batches that it skips first, while f_s knows little", least=0),
    ] = 0
    aligned: Annotated[
        bool,
        Parameter("whether aux samples are drawn with the labels of the batch, if they are heard"),
    ] = True
    repeats: Annotated[int, Parameter("steps per heard batch", least=1)] = 1
    width: Annotated[int, Parameter("channels of the decoder at full resolution", least=1)] = 16
    refine_steps: Annotated[
        int | None,
        Parameter("steps that refine decoded images; 0: none", least=0, grid=(20, 0, 100)),
    ] = 20
    refine_lr: Annotated[float, Parameter("step size of the refinement", above=0)] = 1e-2

    @classmethod
    def paper(cls) -> Self:
        """The rates of Zhu et al. and the paper's loss; there is no rehearsal."""
        return cls(lr=1e-3, decoder_lr=5e-4, loss="mse")

    @classmethod
    def smoke(cls) -> Self:
        """A narrow decoder, two refining steps, and the rates and loss of `paper()`."""
        return replace(cls.paper(), width=4, refine_steps=2)

    def refuses(self, task: Task) -> str | None:
        """Refuse a loss that doesn't suit the inputs."""
        return unfit(self.loss, task.input_shape)

    def usable(self, heard: BatchView, before: int) -> bool:
        """Whether the late start is over and the batch has at least two smashed data."""
        return before >= self.late_start and Batch.usable(heard)

    def open(self, setup: TrainingSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Make pseudo-client and decoder."""
        return PseudoClient(self, setup, first, rng)

    def candidates(self, setup: TrainingSetup) -> Sequence[Self]:
        """Every combination of open rates and steps; further losses with the first of them."""
        return with_objectives(self, setup.task.input_shape)


@final
class PseudoClient(ListenerState):
    """PCAT while it listens: the pseudo-client and its decoder.

    Attributes:
        substitute: the attacker's networks.
    """

    def __init__(self, attack: PCAT, setup: TrainingSetup, first: BatchView, rng: Stream) -> None:
        self._attack, self._bounded = attack, setup.task.bounded
        self._loss = loss_of(attack.loss, setup.task.input_shape)
        lr, decoder_lr = given(attack.lr, attack.decoder_lr)
        self.substitute = Substitute(
            setup, Batch.of(first), conditional=False, lr=lr, decoder_lr=decoder_lr,
            width=attack.width, rng=rng.child("client"),
        )  # fmt: skip

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch."""
        batch, substitute = Batch.of(heard), self.substitute
        substitute.server = batch.server
        for _ in range(self._attack.repeats):
            if batch.y is not None and self._attack.aligned:
                x, y = substitute.draw_alike(batch.y)
            else:
                x, y = substitute.draw(len(batch.z))
            if len(y) > 1:
                step(substitute, batch, x, y, loss=self._loss)

    def finish(self, view: SubstituteView) -> Reconstruction:
        """Decode the targets, and refine the decoded images."""
        substitute, z = self.substitute, view.smashed.mean(0)
        substitute.meet(view.server_weights)
        refined = self._refined(decode(substitute.decoder.network, z), z)
        return Reconstruction(
            images=refined.leaves[0],
            diagnostics=substitute.losses.diagnostics()
            | {"feature_loss": float(refined.loss.mean())},
            curve=substitute.losses.curve("decoder_loss"),
            model=substitute.whole,
            guess=substitute.guess(z),
        )

    def _refined(self, images: Tensor, z: Tensor) -> Descended:
        # with the defense: without it, f^'s codes were never drawn toward the victim's
        client, (steps,) = self.substitute.finished, given(self._attack.refine_steps)
        descent = Descent(
            steps=steps, rate=constant(self._attack.refine_lr),
            settle=_into_range if self._bounded else None,
        )  # fmt: skip
        # a copy: a client whose first layer works in place may not do so on a leaf
        return descent.run(lambda x, rows: squared_error(client(x[0].clone()), z[rows]), [images])


def _into_range(leaves: list[Tensor]) -> None:
    leaves[0].clamp_(0, 1)


def step(substitute: Substitute, batch: Batch, x: Tensor, y: Tensor, *, loss: Loss) -> None:
    """One step of the pseudo-client, then of the decoder, on aux samples x (B, ...), y (B,)."""
    task = substitute.task_loss(batch.server, substitute.codes(x), y)
    learn((task, substitute.imitators))
    with torch.no_grad():
        codes = substitute.codes(x)
    error = loss(substitute.decoder(codes), x).mean()
    learn((error, [substitute.decoder]))
    substitute.losses.note(task_loss=task, decoder_loss=error)
