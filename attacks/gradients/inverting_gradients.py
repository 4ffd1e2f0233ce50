"""Inverting gradients: find the batch whose gradients point where those heard point.

Adversary: a party that hears the gradients (or weights) that a client sends, and knows the network:
the server or an eavesdropper in large-batch SGD and federated averaging. If it holds samples of its
own (aux), it rehearses on them to choose the weight of the prior.

Idea (Geiping, Bauermeister, Droege and Moeller 2020, equation 4): the length of a gradient only
tells how well the network fits, but its direction tells the data. So over batches x in [0, 1] solve
    min over x   1 - cos(u(x, y), heard) + tv_weight * TV(x),
by Adam (on the gradient's sign, in the paper), with u the gradient (or the change of the weights
over the client's local steps) for labels y, and TV the mean over pixels of the root of the squared
differences. The attack also works with ReLU and on trained networks, where L-BFGS on squared
distances (`dlg`) fails.

If the seat sees the labels, the attack uses them. Otherwise the label of a single sample is read
off the last layer, as in `idlg` and the authors' code. If an update is that of several samples, or
if the network has no last linear layer, the labels are searched along with the inputs, as in `dlg`.

All groups of targets descend at once: torch.func.vmap computes a gradient of the weights per
group, and Adam works element by element.

Adaptive: aux samples pass through the client's own program, with its defense and local steps, as
the targets did. The rehearsal keeps the weight of the prior that recovers them best. R releases are
averaged.

Departures from the paper (text P, public code C, github.com/JonasGeiping/invertinggradients; where
P and C differ, the defaults here are C's):
1. The rate falls by a factor of 10 after 3/8, 5/8 and 7/8 of 4,800 steps (C). P's runs make 24,000.
2. `signed` is off (C's default). P's experiments have it on.
3. TV is isotropic, with an epsilon under the root, as for all attacks here. C adds the mean of |dx|
   and the mean of |dy|.
4. Start and steps are scaled by the mean and standard deviation of all aux values (without aux, by
   1/2 and 1/4 for images and 0 and 1 for feature vectors). C normalizes by the channel statistics
   of the data set.
5. `tv_weight` is chosen by rehearsal. C states 0.1, P one value per experiment.
6. If the client steps by Adam, the attack hears the signs of gradients. P and C know only SGD.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.descent import Descent
from sltoolkit.adversary.rehearsal import SAMPLES
from sltoolkit.adversary.total_variation import has_neighbors, total_variation
from sltoolkit.attacks.gradients._matching import Matching, cosine_distance, sole_labels
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Updates
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

TV_WEIGHTS = (0.1, 0.0, 1e-3, 1e-2, 1.0)
"""The values that a rehearsal compares; the first, from the authors' code, is the default."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class InvertingView:
    """The updates, shapes, and what the attack can use besides."""

    updates: Updates
    task: Task
    labels: Tensor | None
    aux: Aux | None


@final
@dataclass(frozen=True, kw_only=True)
class InvertingGradients(Attack[InvertingView]):
    """Match the direction of gradients by Adam, with a smoothness prior.

    The values that a rehearsal chose are in the outcome's `tuned`.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = InvertingView
    citation: ClassVar[str] = (
        "Geiping, Bauermeister, Droege, Moeller 2020, Inverting gradients: How easy is it to break "
        "privacy in federated learning? (NeurIPS; arXiv:2003.14053)"
    )

    steps: Annotated[int, Parameter("maximum number of steps", least=1)] = 4800
    lr: Annotated[
        float,
        Parameter(
            "initial step size, in standard deviations of pixels; it is divided by 10 three times",
            above=0,
        ),
    ] = 0.1
    tv_weight: Annotated[
        float | None,
        Parameter("weight of the total variation; None rehearses", least=0, grid=TV_WEIGHTS),
    ] = None
    signed: Annotated[
        bool, Parameter("whether Adam gets the gradient's sign, as in the paper's experiments")
    ] = False
    boxed: Annotated[
        bool, Parameter("whether inputs are kept in [0, 1]; feature vectors never are")
    ] = True
    restarts: Annotated[
        int, Parameter("starts per group; the one with the least loss is kept", least=1)
    ] = 1
    window: Annotated[
        int | None,
        Parameter(
            "steps without progress (a thousandth of the loss) after which a group stops; None: "
            "never, since the last, small steps still gain after a standstill",
            least=1,
        ),
    ] = None
    chunk: Annotated[
        int,
        Parameter(
            "groups (times restarts) that descend at once; fewer if memory is short",
            least=1,
        ),
    ] = 64

    @classmethod
    def smoke(cls) -> Self:
        """Three steps."""
        return cls(steps=3)

    def candidates(self, view: InvertingView) -> Sequence[Self]:
        """The weights of the total variation to compare; just 0 for inputs without neighbors."""
        if self.tv_weight is None and not has_neighbors(view.task.input_shape):
            return [replace(self, tv_weight=0.0)]
        return super().candidates(view)

    def rehearsal_view(
        self, view: InvertingView, *, rng: Stream
    ) -> tuple[InvertingView, Tensor] | None:
        """Updates that the client's program makes of aux samples, in groups like the targets'.

        It takes as many samples as other rehearsals do, but at least one group. It returns None if
        there aren't that many.
        """
        updates, aux, count = view.updates, view.aux, _to_rehearse_on(view)
        if aux is None or not count:
            return None
        order = torch.randperm(len(aux.x), generator=rng.child("pick").torch()).to(aux.x.device)
        own, rest = order[:count], order[count:]
        x, y = aux.x[own], aux.y[own]
        heard = updates.about(x, y, rng.child("client"))
        labels = None if view.labels is None else y
        return replace(view, updates=heard, aux=Aux(x=aux.x[rest], y=aux.y[rest]), labels=labels), x

    def run(self, view: InvertingView, *, rng: Stream) -> Reconstruction:
        """Descend on all groups; the diagnostic `gradient_loss` is the mean final loss.

        Raises:
            ThreatModelError: if the updates are those of only a part of the network.
        """
        matching = Matching(view.updates, name="inverting_gradients")
        fixed = self.candidates(view)[0]
        pixels = _Pixels.of(view)
        problem = _Problem(
            matching=matching, labels=_labels(view), pixels=pixels, restarts=self.restarts,
            tv_weight=fixed.tv_weight or 0.0,
        )  # fmt: skip
        descended = Descent(
            steps=self.steps, rate=_falling(self.lr, self.steps), window=self.window,
            optimizer=_SignedAdam if self.signed else torch.optim.Adam, chunk=self.chunk,
            settle=pixels.clamp if self.boxed and view.task.bounded else None,
        ).run(problem.losses, problem.start(view, rng.child("start")))  # fmt: skip
        best = _least(descended.loss, self.restarts)

        def images(leaf: Tensor) -> Tensor:
            return pixels.shown(leaf[best]).flatten(0, 1)

        return Reconstruction(
            images=images(descended.leaves[0]),
            diagnostics={"gradient_loss": float(descended.loss[best].mean())},
            curve={step: float(loss[best].mean()) for step, loss in descended.curve.items()},
            trace={step: images(leaf) for step, leaf in descended.trace.items()},
        )


def _to_rehearse_on(view: InvertingView) -> int:
    """How many aux samples to rehearse on, in whole groups and with some left; 0: no rehearsal."""
    updates, aux = view.updates, view.aux
    if aux is None or updates.client is None:
        return 0
    wanted = max(updates.batch, min(SAMPLES, len(aux.x) // 2))
    count = wanted - wanted % updates.batch
    return count if count < len(aux.x) else 0


@final
@dataclass(frozen=True, kw_only=True)
class _Pixels:
    """How a leaf becomes inputs: x = mean + std * leaf."""

    mean: float
    std: float

    @classmethod
    def of(cls, view: InvertingView) -> Self:
        """The statistics of aux; without aux, those of a gray guess."""
        if view.aux is not None:
            x = view.aux.x
            return cls(mean=float(x.mean()), std=max(float(x.std()), 1e-3))
        return cls(mean=0.5, std=0.25) if view.task.bounded else cls(mean=0.0, std=1.0)

    def shown(self, leaf: Tensor) -> Tensor:
        """Inputs of a leaf."""
        return self.mean + self.std * leaf

    def clamp(self, leaves: list[Tensor]) -> None:
        """Put inputs back into [0, 1]."""
        leaves[0].clamp_(-self.mean / self.std, (1 - self.mean) / self.std)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """What is minimized, for G groups and each of their restarts."""

    matching: Matching
    labels: Tensor | None
    pixels: _Pixels
    restarts: int
    tv_weight: float

    def start(self, view: InvertingView, rng: Stream) -> list[Tensor]:
        """Standard normal leaves: inputs (M, B, ...), and labels' logits (M, B, C) if unknown."""
        like = next(iter(self.matching.heard.values()))
        rows, batch = self.matching.groups * self.restarts, view.updates.batch

        def normal(*shape: int) -> Tensor:
            return torch.randn(
                rows, batch, *shape, generator=rng.torch(like.device), dtype=like.dtype,
                device=like.device,
            )  # fmt: skip

        x = normal(*view.task.input_shape)
        return [x] if self.labels is not None else [x, normal(view.task.classes)]

    def losses(self, leaves: list[Tensor], rows: Tensor) -> Tensor:
        """The losses (M,) of some rows (M,), one row per group and restart."""
        groups = rows // self.restarts
        x = self.pixels.shown(leaves[0])
        y = leaves[1].softmax(2) if self.labels is None else self.labels[groups].to(x)
        loss = cosine_distance(self.matching.of_many(x, y), self.matching.heard_of(groups))
        if self.tv_weight:
            loss = loss + self.tv_weight * _roughness(x)
        return loss


def _roughness(x: Tensor) -> Tensor:
    """The mean total variation of each group's inputs (M, B, ...): (M,)."""
    return total_variation(x.flatten(0, 1)).reshape(x.shape[:2]).mean(1)


def _least(losses: Tensor, restarts: int) -> Tensor:
    """The row (G,) of each group's least loss, of (G * restarts,); a diverged start never wins."""
    sane = losses.nan_to_num(nan=torch.inf, posinf=torch.inf).reshape(-1, restarts)
    return sane.argmin(1) + restarts * torch.arange(len(sane), device=losses.device)


def _labels(view: InvertingView) -> Tensor | None:
    """One-hot labels (G, B, C) if the seat sees them or they can be read off; otherwise None."""
    updates = view.updates
    labels = sole_labels(updates, view.task) if view.labels is None else view.labels
    if labels is None:
        return None
    return functional.one_hot(labels, view.task.classes).reshape(
        -1, updates.batch, view.task.classes
    )


def _falling(lr: float, steps: int) -> Callable[[int], float]:
    """A learning rate that is divided by 10 after 3/8, 5/8 and 7/8 of the steps."""
    return lambda step: lr * 0.1 ** sum(step >= steps * eighths / 8 for eighths in (3, 5, 7))


@final
class _SignedAdam(torch.optim.Adam):
    """Adam on the sign of the gradient."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step on the gradients' signs."""
        for group in self.param_groups:
            for leaf in group["params"]:
                leaf.grad = leaf.grad.sign()
        super().step(closure)
