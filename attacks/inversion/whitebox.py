"""The white box: regularized maximum likelihood against a known client (rMLE).

Adversary: a party that hears the smashed data z of the targets and holds the client's trained
weights (colluding parties, clients that share weights, a published first part). It needs no data.
If it has its own samples (aux) and queries (release), it rehearses to choose its settings.

Idea (He, Zhang and Lee 2019, equation 3; Mahendran and Vedaldi 2015): among all images find the
one whose smashed data equal what was heard, and prefer piecewise smooth images. For each target
    min over x in [0, 1]   mean over sent units (f(x) - z)^2  +  tv_weight * TV(x),
with f the client and TV the total variation with exponent beta (`total_variation`). All targets
descend at once, each on its own, until its loss stands still or the steps are spent (`descent`).
Feature vectors have no neighbors and no TV.

Behind dense layers much of an image leaves no trace in its smashed data, and a decoder d, which has
learned what images look like, beats such a descent. An attacker with own samples and queries can
train one (`decoder`), and then has both: it starts at d(z) and adds a pull towards it,
    ... + pull / (1 - pull) * L(x, d(z)),
where L is the loss that the decoder is trained with, MSE + (1 - SSIM) for images. A pull of 0 only
starts there, and a pull of 1 is the decoder's answer itself. The rehearsal compares both starts and
a range of pulls.

Adaptive: releases are averaged, and withheld channels are left out of the loss (`_observation`). If
the defense's public parameters (mechanism) are known, the rehearsal also tries the defended client
as f, computed as the mean of a few draws.

Departures from the paper (text P, published code C; they differ from each other):
1. The feature error is a mean over units (C), not a sum (P), and TV is a mean over pixels. P has
   beta = 1 and C has beta = 2 (with another mean for dx than for dy). A rehearsal compares both.
2. x starts at the mean of aux, or at 1/2, and is clamped to [0, 1] after every step (`box`). C
   starts at 0 in normalized space and doesn't clamp. Clamping adds the information that pixels have
   bounds.
3. The optimizer is plain Adam with a rate that falls along a cosine. C uses AMSGrad with epsilon
   1e-3 and a constant rate, 5,000 steps of 0.01 (`optimizer="amsgrad"`, `schedule="constant"`).
   C divides pixels by a deviation s, so the same steps have s times the rate and 1/s times the
   epsilon here: 0.005 and 2e-3 for MNIST (s = 0.5), 0.00226 and 4.42e-3 for CIFAR-10 (s = 0.226).
4. TV, rate and steps are chosen by rehearsal on the attacker's own samples. P and C state them per
   cut. Its TV weights are 1/s^2 times as large here.
5. A target stops when its loss hasn't fallen by a thousandth within `window` steps (0: never).
6. Neither has the start at a decoder's answer and the pull (`start="mean"` is without).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar, Literal, Self, final

import torch
from torch import Tensor

from sltoolkit.adversary.descended import Descended
from sltoolkit.adversary.descent import OPTIMIZERS, RATES, Chunk, Descent, Window
from sltoolkit.adversary.total_variation import has_neighbors, total_variation
from sltoolkit.attacks.inversion._decoded import answers, decodable, distance
from sltoolkit.attacks.inversion._observation import (
    Observation,
    OpenForward,
    WhiteBoxView,
    forwards,
    suitable_kernels,
)
from sltoolkit.attacks.inversion.decoder import Decoder
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

Start = Literal["mean", "gray", "zero", "decoder"]

Prior = Callable[[Tensor, Tensor], Tensor]
"""What the loss adds to feature errors: from inputs (M, ...) and the targets' rows (M,) to (M,)."""

SMOOTHNESS = (
    (1, 1e-2), (1, 0.0), (1, 1e-3), (1, 1e-1), (1, 1.0), (1, 3.0), (1, 10.0),
    (2, 0.4), (2, 4.0), (2, 20.0), (2, 200.0),
)  # fmt: skip
"""The exponents and weights of the TV that a rehearsal compares; the first is the default.

The weights span orders of magnitude because feature errors do. With exponent 2, the weights 4 and
200 are C's for MNIST and CIFAR-10 behind the second activation. The largest weights matter against
noise: when 1.0 was the largest, noise of std 2 looked like a perfect defense (SSIM 0.04 on
photographs, where 10.0 gives 0.37).
"""

BESIDE_PULL = ((1, 1e-2), (1, 0.0), (1, 1e-1))
"""The TV terms that a rehearsal combines with every pull below 1; it takes most of their part.
"""

PULLS = (1e-2, 1e-3, 1e-1, 0.5, 0.9, 0.0, 1.0)
"""The pulls that a rehearsal compares, from nothing to everything; the first is the default."""

SCHEDULES = ((0.2, 300), (0.05, 1000), (0.01, 5000))
"""Initial rates and steps: a rehearsal tries the next while slower is better; C has 5,000, too."""


@final
@dataclass(frozen=True, kw_only=True)
class WhiteBox(Attack[WhiteBoxView]):
    """Reconstruct inputs by descending on them through the known client.

    Parameters that are None are chosen by rehearsal; their values are in the outcome's `tuned`.
    Without aux and release there is no rehearsal: then the first of `SMOOTHNESS` and of `SCHEDULES`
    are taken, and the descent goes through the client itself.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = WhiteBoxView
    citation: ClassVar[str] = (
        "He, Zhang, Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"
    )

    steps: Annotated[
        int | None,
        Parameter("maximum number of steps", least=1, grid=tuple(s for _, s in SCHEDULES)),
    ] = None
    lr: Annotated[
        float | None,
        Parameter("initial step size", above=0, grid=tuple(rate for rate, _ in SCHEDULES)),
    ] = None
    optimizer: Annotated[
        Literal["adam", "amsgrad", "sgd"],
        Parameter("`adam`, `amsgrad` (with `epsilon`), or `sgd` (plain gradient descent)"),
    ] = "adam"
    epsilon: Annotated[
        float,
        Parameter(
            "added to the denominator of `amsgrad`'s steps: He et al.'s 1e-3, over the deviation "
            "that they divide pixels by (1/2 for MNIST)", above=0,
        ),
    ] = 2e-3  # fmt: skip
    schedule: Annotated[
        Literal["cosine", "constant"],
        Parameter("the step size falls to zero along a `cosine`, or is `constant`"),
    ] = "cosine"
    start: Annotated[
        Start | None,
        Parameter(
            "start at the `mean` of aux (1/2 without aux), at 1/2 (`gray`), at `zero`, or at the "
            "answers of a `decoder` trained on aux",
            grid=("mean", "decoder"),
        ),
    ] = None
    pull: Annotated[
        float | None,
        Parameter(
            "pull towards the decoder's answers, as a share: its weight is pull / (1 - pull), and "
            "1 means these answers themselves",
            least=0, most=1, grid=PULLS,
        ),
    ] = None  # fmt: skip
    decoder_steps: Annotated[
        int | None,
        Parameter("the most steps of the decoder's training; None: the decoder's own", least=1),
    ] = None
    box: Annotated[
        bool, Parameter("whether inputs are kept in [0, 1]; feature vectors never are")
    ] = True
    tv_weight: Annotated[
        float | None,
        Parameter(
            "weight of the total variation", least=0,
            grid=tuple(dict.fromkeys(weight for _, weight in SMOOTHNESS)),
        ),
    ] = None  # fmt: skip
    tv_beta: Annotated[
        int | None, Parameter("exponent of the total variation", least=1, most=2, grid=(1, 2))
    ] = None
    forward: OpenForward = None
    window: Window = 50
    chunk: Chunk = 64

    @classmethod
    def smoke(cls) -> Self:
        """Three steps, and two of the decoder."""
        return cls(steps=3, decoder_steps=2)

    def __post_init__(self) -> None:
        """Refuse senseless parameters; without a decoder there is no pull.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        super().__post_init__()
        if self.start in (None, "decoder"):
            return
        if self.pull:
            raise SpecError(
                f"{type(self).__name__}: pull={self.pull} pulls towards a decoder's answers, and "
                f"start={self.start!r} has none; use start='decoder' or pull=0"
            )
        object.__setattr__(self, "pull", 0.0)

    def without_decoder(self) -> Self:
        """The attack with a start at the mean, if its start is open.

        For attacks whose queries are answered by other networks than the targets' client. In their
        rehearsals these networks play the client. A decoder that learned from the same networks
        would look far better there than it is on the targets.
        """
        return self if self.start is not None or self.pull else replace(self, start="mean")

    def refuses(self, task: Task) -> str | None:
        """Refuse what a decoder refuses, if it must start from one."""
        return self._decoder().refuses(task) if self.start == "decoder" else None

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        """Descend on all targets of the view.

        The diagnostics are means over targets: the final `feature_loss` and the `steps` made.

        Raises:
            ThreatModelError: if `forward` asks for a mechanism that is not granted, or `start` for
                a decoder without aux and release.
        """
        return self.settings_on(view)(self, rng)

    def settings_on(self, view: WhiteBoxView) -> Callable[[Self, Stream], Reconstruction]:
        """From a setting and a stream to the outcome; settings share the decoder that is trained.

        Args:
            view: what the attack holds.
        """
        answer = answers(view, self._decoder())
        return lambda setting, rng: setting._run(view, answer, rng)

    def _run(
        self, view: WhiteBoxView, answer: Callable[[Stream], Tensor], rng: Stream
    ) -> Reconstruction:
        fixed = self.candidates(view)[0]
        heard = Observation.of(view, fixed.forward, rng=rng)
        toward = answer(rng.fresh("decoder")) if fixed.start == "decoder" else None
        with rng.child("descent").scope(), suitable_kernels(heard.client):
            if toward is not None and fixed.pull == 1:
                return _unmoved(toward, heard)
            toward = None if toward is None else fixed._settled(toward, view.task).to(heard.z.dtype)
            prior = fixed._prior(view.task, toward)
            found = fixed._descend(heard, view, prior, toward)
            images = found.leaves[0]
            everybody = torch.arange(len(images), device=images.device)
        return found.reconstruction(images, smooth=prior(images, everybody))

    def candidates(self, view: WhiteBoxView) -> Sequence[Self]:
        """Every forward model with every start, pull and TV, and the first rate and steps."""
        lr, steps = self._schedules()[0]
        return [
            replace(
                self, start=start, pull=pull, tv_weight=weight, tv_beta=beta, forward=forward,
                lr=lr, steps=steps,
            )
            for forward in forwards(self.forward, view)
            for start, pull, (beta, weight) in self._priors(view)
        ]  # fmt: skip

    def refinements(self, best: Self, view: WhiteBoxView) -> Sequence[Self]:
        """The best candidate with ever slower descents."""
        return [replace(best, lr=lr, steps=steps) for lr, steps in self._schedules()]

    def _smoothness(self) -> list[tuple[int, float]]:
        """The exponents and weights of the TV that agree with the given parameters."""
        exponents = (1, 2) if self.tv_beta is None else (self.tv_beta,)
        if self.tv_weight == 0:
            return [(exponents[0], 0.0)]
        if self.tv_weight is not None:
            return [(beta, self.tv_weight) for beta in exponents]
        fitting = [term for term in SMOOTHNESS if term[0] in exponents]
        return list(dict.fromkeys([*fitting, (exponents[0], 0.0)]))

    def _schedules(self) -> list[tuple[float, int]]:
        """The rates and steps that agree with the given parameters."""
        given = [
            (rate if self.lr is None else self.lr, count if self.steps is None else self.steps)
            for rate, count in SCHEDULES
        ]
        return list(dict.fromkeys(given))

    def _optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """What makes the optimizer; only AMSGrad has an epsilon that depends on pixels' units."""
        make = OPTIMIZERS[self.optimizer]
        return partial(make, eps=self.epsilon) if self.optimizer == "amsgrad" else make

    def _priors(self, view: WhiteBoxView) -> list[tuple[Start, float, tuple[int, float]]]:
        """The starts, pulls and TV terms that agree with the given parameters."""
        smooth = self._smoothness() if has_neighbors(view.task.input_shape) else [(1, 0.0)]
        beside = [term for term in BESIDE_PULL if term in smooth] or smooth
        pulls = PULLS if self.pull is None else (self.pull,)
        found: list[tuple[Start, float, tuple[int, float]]] = []
        for start in self._starts(view):
            if start == "decoder":
                found += [(start, pull, term) for pull in pulls for term in _kept(beside, pull)]
            else:
                found += [(start, 0.0, term) for term in smooth]
        return found

    def _starts(self, view: WhiteBoxView) -> tuple[Start, ...]:
        """The starts that agree with the given parameters."""
        if self.start is not None:
            return (self.start,)
        if self.pull:
            return ("decoder",)
        return ("mean", "decoder") if decodable(view, self._decoder()) else ("mean",)

    def _decoder(self) -> Decoder:
        """The decoder with its first setting: it is trained often, and doesn't rehearse besides."""
        return Decoder(steps=self.decoder_steps, budget=0)

    def _settled(self, x: Tensor, task: Task) -> Tensor:
        """Inputs (N, ...) in their range, if that is known and to be kept."""
        return x.clamp(0, 1) if self.box and task.bounded else x

    def _common_start(self, view: WhiteBoxView) -> Tensor:
        """The starting point of all targets, of the input's shape, if no decoder gives one."""
        if self.start == "mean" and view.aux is not None:
            return view.aux.x.mean(0)
        gray = 0.5 if self.start != "zero" and view.task.bounded else 0.0
        return view.smashed.new_full(view.task.input_shape, gray)

    def _prior(self, task: Task, toward: Tensor | None) -> Prior:
        """TV and the pull, as far as they have weights."""
        smoothing = (self.tv_weight or 0.0) if has_neighbors(task.input_shape) else 0.0
        pull = 0.0 if toward is None or self.pull is None else self.pull / (1 - self.pull)

        def prior(x: Tensor, rows: Tensor) -> Tensor:
            added = x.new_zeros(len(x))
            if smoothing:
                added = added + smoothing * total_variation(x, beta=self.tv_beta or 1)
            if pull and toward is not None:
                added = added + pull * distance(task)(x, toward[rows])
            return added

        return prior

    def _descend(
        self, heard: Observation, view: WhiteBoxView, prior: Prior, toward: Tensor | None
    ) -> Descended:
        """Descend on inputs (N, ...) whose smashed data approach z."""
        start = self._common_start(view) if toward is None else toward

        def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
            return heard.feature_loss(leaves[0], rows) + prior(leaves[0], rows)

        def clamp(leaves: list[Tensor]) -> None:
            leaves[0].clamp_(0, 1)

        lr, steps = self._schedules()[0]
        how = Descent(
            steps=steps,
            rate=RATES[self.schedule](lr, steps),
            optimizer=self._optimizer(),
            window=self.window or None,
            chunk=self.chunk,
            settle=clamp if self.box and view.task.bounded else None,
        )
        first = start.to(heard.z.dtype).expand(len(heard.z), *view.task.input_shape)
        return how.run(objective, [first])


def _kept(terms: list[tuple[int, float]], pull: float) -> list[tuple[int, float]]:
    """The TV terms to combine with a pull: any one where all is pull, which ignores it."""
    return terms[:1] if pull == 1 else terms


def _unmoved(answers: Tensor, heard: Observation) -> Reconstruction:
    """The decoder's answers (N, ...) as they are."""
    with torch.no_grad():
        everybody = torch.arange(len(answers), device=answers.device)
        loss = heard.feature_loss(answers.to(heard.z.dtype), everybody)
    return Reconstruction(
        images=answers, diagnostics={"feature_loss": float(loss.mean()), "steps": 0.0}
    )
