"""PCAT: a pseudo-client that learns through the server's own network, while that one learns.

Adversary: an honest-but-curious server that hears smashed data z and labels y and holds its own
network f_s at every moment, with a few labeled samples (x', y') of the same task. It knows neither
the client's weights nor, unless that is granted, its architecture, and makes no queries.

Idea (Gao and Zhang 2023, section 4 and algorithm 2). For every batch (z, y) of the training:
    x', y'  own samples with the labels of the batch (label alignment)
    f^  follows  min CE(f_s(f^(x')), y'),  f_s as it is now,
    d   follows  min mean ||d(f^(x')) - x'||^2,
and at the end x = d(z), refined by descending on x along  mean over units (f^(x) - z)^2  with f^
frozen. f_s learns from the honest gradients alone, so that no client can notice. In a U-shape no
labels are heard: x' are drawn at random, a pseudo-tail makes logits of the server's features, and
pseudo-tail(f_s(z)) guesses the victim's labels.

R releases of a target are averaged. Where the defense's public parameters (mechanism) are known, f^
sends through an own copy of it, as the victim does; else it can only imitate what the server's
network has learned to read. Of a defense that learns, the copy is as it began, which may mislead.

Departures from the paper:
1. The decoder learns beside f^ in every batch, with the rates 1e-3 (f^) and 5e-4 (d) of the public
   re-implementation by Zhu et al. 2025.
2. Without the architecture, f^ is the beginning of VGG-16 with BatchNorm (see
   `sltoolkit.networks.substitutes`); d is the toolkit's inverse network, which starts at the mean
   of aux.
3. Refined images (and signals) stay in [0, 1]; the paper's steps and rate for this are not stated.
4. Labels of the batch that no own sample has are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.descended import Descended
from sltoolkit.adversary.descent import Descent, constant, squared_error
from sltoolkit.adversary.learner import learn
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
from sltoolkit.networks.inverse import decode
from sltoolkit.streams import Stream

RATES, DECODER_RATES, REFINE_STEPS = (1e-3, 3e-3), (5e-4, 2e-3), (20, 0, 100)
"""What a dress rehearsal compares."""


@final
@dataclass(frozen=True, kw_only=True)
class PCAT(Listener[SubstituteSetup]):
    """Reconstruct inputs with a pseudo-client that was trained beside the victim.

    `lr`, `decoder_lr` and (on request) `refine_steps` of None are chosen by a dress rehearsal, when
    the first batch is heard: four settings by default, 450 batches each
    (`sltoolkit.adversary.training_rehearsal`).

    Attributes:
        lr: learning rate of the pseudo-client (and pseudo-tail).
        decoder_lr: learning rate of the decoder.
        late_start: batches at the beginning that are not learned from, while f_s knows nothing; a
            rehearsal, which is short, is learned from all the way.
        aligned: whether own samples are drawn with the batch's labels, where these are heard.
        repeats: steps per heard batch.
        width: channels of the decoder at full resolution.
        refine_steps: steps of the descent on the decoded images; 0: none.
        refine_lr: its step size.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = SubstituteSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = (
        "Gao & Zhang 2023, PCAT: Functionality and data stealing from split learning by "
        "pseudo-client attack (USENIX Security)"
    )

    lr: float | None = None
    decoder_lr: float | None = None
    late_start: int = 0
    aligned: bool = True
    repeats: int = 1
    width: int = 16
    refine_steps: int | None = 20
    refine_lr: float = 1e-2

    @classmethod
    def paper(cls) -> Self:
        """The rates of Zhu et al.; nothing is rehearsed."""
        return cls(lr=RATES[0], decoder_lr=DECODER_RATES[0])

    @classmethod
    def smoke(cls) -> Self:
        """A narrow decoder, a few steps at the end, the rates of Zhu et al."""
        return replace(cls.paper(), width=4, refine_steps=2)

    @property
    def rehearses(self) -> bool:
        """Unless everything is given."""
        return None in (self.lr, self.decoder_lr, self.refine_steps)

    def open(self, setup: SubstituteSetup, *, rng: Stream) -> ListenerState:
        """Attach."""
        return PseudoClient(self, setup, rng)

    def candidates(self, setup: SubstituteSetup) -> Sequence[Self]:
        """Every combination of what is open."""
        rehearsed = replace(self, late_start=0)
        return settings(rehearsed, lr=RATES, decoder_lr=DECODER_RATES, refine_steps=REFINE_STEPS)

    def tune(self, setup: SubstituteSetup, first: BatchView, *, rng: Stream) -> Self:
        """The setting that does best on small victims; the late start remains as given."""
        return replace(super().tune(setup, first, rng=rng), late_start=self.late_start)


@final
class PseudoClient(ListenerState):
    """PCAT's ear: the pseudo-client with its decoder.

    Attributes:
        substitute: the networks; None before the first batch that is learned from.
    """

    def __init__(self, attack: PCAT, setup: SubstituteSetup, rng: Stream) -> None:
        self._given, self._setup, self._rng = attack, setup, rng
        self._attack = attack
        self._heard = 0
        self.substitute: Substitute | None = None

    def hear(self, heard: BatchView) -> None:
        """Learn from a batch."""
        batch = Batch.of(heard)
        self._heard += 1
        if batch is None or self._heard <= self._attack.late_start:
            return
        substitute = self.substitute or self._begin(batch, heard)
        substitute.server = batch.server
        for _ in range(self._attack.repeats):
            if batch.y is not None and self._attack.aligned:
                x, y = substitute.draw_alike(batch.y)
            else:
                x, y = substitute.draw(len(batch.z))
            if len(y) > 1:
                step(substitute, batch, x, y)

    def _begin(self, batch: Batch, heard: BatchView) -> Substitute:
        attack = self._given.tune(self._setup, heard, rng=self._rng.child("rehearsal"))
        self._attack = attack
        self.substitute = Substitute(
            self._setup, batch, conditional=False, lr=settled(attack.lr, "lr"),
            decoder_lr=settled(attack.decoder_lr, "decoder_lr"), width=attack.width,
            rng=self._rng.child("client"),
        )  # fmt: skip
        return self.substitute

    def finish(self, view: SubstituteView) -> Reconstruction:
        """Decode the targets, and refine what came out."""
        substitute = started(self.substitute, view, "PCAT")
        z = view.smashed.mean(0)
        refined = self._refined(substitute, decode(substitute.decoder.network, z), z)
        return Reconstruction(
            images=refined.leaves[0],
            tuned=chosen(self._given, self._attack),
            diagnostics=substitute.losses.diagnostics()
            | {"feature_loss": float(refined.loss.mean())},
            curve=substitute.losses.curve("decoder_loss"),
            model=substitute.whole,
            guess=substitute.guess(z),
        )

    def _refined(self, substitute: Substitute, images: Tensor, z: Tensor) -> Descended:
        # through the mechanism: what f^ says before it was never drawn to what the victim says
        client = substitute.finished
        descent = Descent(
            steps=self._attack.refine_steps or 0, rate=constant(self._attack.refine_lr),
            settle=_into_range if self._setup.task.bounded else None,
        )  # fmt: skip
        # a copy: a client whose first layer works in place may not do so on a leaf
        return descent.run(lambda x, rows: squared_error(client(x[0].clone()), z[rows]), [images])


def _into_range(leaves: list[Tensor]) -> None:
    leaves[0].clamp_(0, 1)


def step(substitute: Substitute, batch: Batch, x: Tensor, y: Tensor) -> None:
    """The pseudo-client learns from own samples x (B, ...) with labels y (B,), then the decoder."""
    task = substitute.task_loss(batch.server, substitute.codes(x), y)
    learn((task, substitute.imitators))
    with torch.no_grad():
        codes = substitute.codes(x)
    error = functional.mse_loss(substitute.decoder(codes), x)
    learn((error, [substitute.decoder]))
    substitute.losses.note(task_loss=task, decoder_loss=error)
