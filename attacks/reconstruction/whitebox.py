"""The white box: regularised maximum likelihood against a known client (rMLE).

Adversary: whoever hears the smashed data z of the targets and holds the client's trained weights
(colluding parties, clients that share weights, a published first part). No data is needed; with
own samples (aux) and queries (release) it rehearses to choose its settings.

Idea (He, Zhang and Lee 2019, equation 3; Mahendran and Vedaldi 2015): among all images find the
one whose smashed data is what was heard, preferring piecewise smooth ones. Per target
    min over x in [0, 1]   mean over sent units (f(x) - z)^2  +  tv_weight * TV(x),
    TV(x) = mean over pixels sqrt(dx^2 + dy^2 + 1e-6),
with f the client and dx, dy the differences of neighbouring pixels. All targets descend at once;
their losses are summed and the optimisers work element by element, so no target touches another.

Adaptive: R releases are averaged, each channel over the releases in which it was sent. A channel
that is identically zero although the client would not make it so was withheld (random pruning,
DISCO: the mask is visible) and is left out of the loss. With the defence's public parameters
(mechanism) the rehearsal also tries the defended client as f: the mean of a few draws.

Departures from the paper (text P, published code C; they differ from each other):
1. Feature error as a mean over units (C), not a sum (P); TV as a mean over pixels of the root of
   the squared differences (P's beta = 1; C has beta = 2), its epsilon inside: the root has no
   derivative at a constant image.
2. x starts at the mean of aux, or at 1/2, and is clamped to [0, 1] after every step; C starts at
   0 in normalised space and doesn't clamp. Clamping adds information: pixels at the bounds.
3. Plain Adam with a rate that falls along a cosine, 300 steps from 0.2; C uses AMSGrad
   with a constant rate and 5,000 steps from 0.01.
4. tv_weight is chosen by rehearsal on the attacker's own samples; P and C state one per cut.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.contracts import Attack, Defense, Family, Role, Task
from sltoolkit.errors import ThreatModelError, lookup
from sltoolkit.outcomes import Reconstruction
from sltoolkit.rehearsal import can_rehearse, chosen
from sltoolkit.streams import Stream
from sltoolkit.threat import Aux, Release
from sltoolkit.turns import Turn

Forward = Literal["client", "mechanism"]
Network = Callable[[Tensor], Tensor]

TV_WEIGHTS = (1e-2, 0.0, 1e-3, 1e-1, 1.0, 3.0, 10.0)
"""What is rehearsed; logarithmic, since feature errors differ by orders of magnitude.

The first is taken where there is nothing to rehearse on. The last two matter against noise: with
1.0 as the largest, noise of std 2 looked like a perfect defence (SSIM 0.04 on photographs, where
10.0 gives 0.37).
"""

DRAWS = 4
"""Draws of the mechanism that are averaged into one evaluation of the defended client."""

_TV_EPSILON = 1e-6
_PROBES = 64


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WhiteBoxView:
    """What the white box needs, and what it can use besides."""

    smashed: Tensor
    client_weights: nn.Module
    task: Task
    aux: Aux | None
    release: Release | None
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True)
class WhiteBox(Attack[WhiteBoxView]):
    """Reconstruct inputs by descending on them through the known client.

    Attributes:
        steps: of the descent.
        lr: initial step size; it falls to zero along a cosine.
        optimizer: `adam`, or `sgd` (plain gradient descent).
        start: `mean` of aux (1/2 without aux, and `grey` always), or `zero`.
        box: whether images are kept in [0, 1]; feature vectors never are.
        tv_weight: weight of the total variation; None rehearses, or takes 0.01 without
            aux and release. What was chosen is in the outcome's `tuned`.
        forward: descend through the `client` as it is, or through the defended one (`mechanism`);
            None rehearses, or takes the client where there is nothing to rehearse with.
        chunk: targets that descend at once, for memory.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = WhiteBoxView
    citation: ClassVar[str] = (
        "He, Zhang, Lee 2019, Model inversion attacks against collaborative inference (ACSAC)"
    )

    steps: int = 300
    lr: float = 0.2
    optimizer: Literal["adam", "sgd"] = "adam"
    start: Literal["mean", "grey", "zero"] = "mean"
    box: bool = True
    tv_weight: float | None = None
    forward: Forward | None = None
    chunk: int = 64

    @classmethod
    def smoke(cls) -> Self:
        """Three steps."""
        return cls(steps=3)

    @property
    def rehearses(self) -> bool:
        """Unless both the weight and the forward model are given."""
        return self.tv_weight is None or self.forward is None

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        """Descend on all targets of the view; `feature_loss` is the mean final feature error.

        Raises:
            ThreatModelError: if `forward` asks for a mechanism that is not granted.
            SpecError: if the optimiser is unknown.
        """
        fixed = self.tune(view, rng=rng.child("rehearsal"))
        client = copy.deepcopy(view.client_weights).eval().requires_grad_(False)
        z, sent = observe(view.smashed, masked=_withholds(view, client))
        network: Network = client
        if fixed.forward == "mechanism":
            network = _defended(client, view, rng.child("mechanism"))
        start = fixed._start(view)
        with rng.child("descent").scope(), _suitable_kernels(client):
            parts = [
                fixed._descend(network, start, *part)
                for part in zip(z.split(self.chunk), sent.split(self.chunk), strict=True)
            ]
            images = torch.cat(parts)
            loss = _feature_loss(network, images, z, sent, self.chunk)
        return Reconstruction(
            images=images,
            tuned=chosen(self, fixed) if can_rehearse(view) else {},
            diagnostics={"feature_loss": loss},
        )

    def candidates(self, view: WhiteBoxView) -> Sequence[Self]:
        """With every setting fixed; forward models and TV weights compete in pairs."""
        forwards: tuple[Forward, ...] = ("client", "mechanism")
        if self.forward is not None or view.mechanism is None:
            forwards = (self.forward or "client",)
        weights: Sequence[float] = TV_WEIGHTS if _is_image(view.task) else (0.0,)
        if self.tv_weight is not None:
            weights = (self.tv_weight,)
        return [
            replace(self, tv_weight=w, forward=f) for f, w in itertools.product(forwards, weights)
        ]

    def _start(self, view: WhiteBoxView) -> Tensor:
        """The common starting point, of the input's shape."""
        if self.start == "mean" and view.aux is not None:
            return view.aux.x.mean(0)
        grey = 0.5 if self.start != "zero" and _is_image(view.task) else 0.0
        return view.smashed.new_full(view.task.input_shape, grey)

    def _descend(self, network: Network, start: Tensor, z: Tensor, sent: Tensor) -> Tensor:
        """Inputs (N, ...) whose smashed data approach `z` (N, ...), all from `start`."""
        x = start.to(z.dtype).expand(len(z), *start.shape).clone().requires_grad_(True)
        optimizer = lookup(OPTIMIZERS, self.optimizer, "optimizer")([x], lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        smooth = bool(self.tv_weight) and start.dim() == 3
        bounded = self.box and start.dim() == 3
        per_unit = 2 * _unit_weights(z, sent)
        for _ in range(self.steps):
            guess = network(x)
            # the squared error's gradient in closed form saves two passes over smashed data
            outputs, slopes = [guess], [(guess.detach() - z).mul_(per_unit)]
            if smooth:
                outputs.append(_total_variation(x).sum())
                slopes.append(torch.full_like(outputs[1], self.tv_weight or 0.0))
            (x.grad,) = torch.autograd.grad(outputs, x, slopes)
            optimizer.step()
            schedule.step()
            if bounded:
                x.data.clamp_(0, 1)
        return x.detach()


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
"""Element by element only: L-BFGS and clipping by a global norm would couple the targets."""


def observe(smashed: Tensor, *, masked: bool) -> tuple[Tensor, Tensor]:
    """Releases merged into one observation.

    Args:
        smashed: (R, N, C, ...).
        masked: whether channels that are identically zero count as not sent.

    Returns:
        The mean over the releases in which a channel was sent, (N, C, ...), and which channels
        were sent at all, (N, C, 1, ...) of zeros and ones.
    """
    if masked:
        count = torch.stack([_present(z) for z in smashed]).sum(0)
    else:
        count = smashed.new_full(smashed.shape[1:3], len(smashed))
    count = count.reshape(*count.shape, *(1,) * (smashed.dim() - 3))
    return smashed.sum(0) / count.clamp(min=1), (count > 0).to(smashed.dtype)


def _present(z: Tensor) -> Tensor:
    """Which channels are not identically zero: (N, C) of (N, C, ...)."""
    return (z != 0).reshape(*z.shape[:2], -1).any(2)


def _withholds(view: WhiteBoxView, client: nn.Module) -> bool:
    """Whether the release zeroes channels that the client does not.

    Without queries nothing tells a unit that is off from one that was withheld: then silent maps
    are taken as withheld, and silent units of a vector as off.
    """
    if view.aux is None or view.release is None:
        return view.smashed.dim() > 3
    probes = view.aux.x[:_PROBES]
    with torch.no_grad():
        active = _present(client(probes))
    return bool((active & ~_present(view.release(probes)[0])).any())


def _defended(client: nn.Module, view: WhiteBoxView, rng: Stream) -> Network:
    """The client followed by the mean of a few draws of an own copy of the defence."""
    if view.mechanism is None:
        raise ThreatModelError(
            "forward='mechanism' needs the defence's public parameters: grant mechanism"
        )
    defense = view.mechanism(rng)

    def forward(x: Tensor) -> Tensor:
        ids = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        turn = Turn(ids=ids, x=x.detach(), y=None, step=0, epoch=0, phase="release", rng=rng)
        z = client(x)
        return torch.stack([defense.smash(z, turn) for _ in range(DRAWS)]).mean(0)

    return forward


def _total_variation(x: Tensor) -> Tensor:
    """Per image (N,): the mean over pixels of the root of the squared differences (beta = 1)."""
    right = functional.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    below = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return (right.square() + below.square() + _TV_EPSILON).sqrt().flatten(1).mean(1)


def _unit_weights(z: Tensor, sent: Tensor) -> Tensor:
    """What one unit counts for in its target's mean over sent units, (N, C, 1, ...)."""
    per_channel = prod(z.shape[2:])
    counted = sent.flatten(1).sum(1).mul(per_channel).clamp(min=1)
    return sent / counted.reshape(-1, *(1,) * (z.dim() - 1))


def _feature_loss(network: Network, x: Tensor, z: Tensor, sent: Tensor, chunk: int) -> float:
    """The mean over targets of the final feature error."""
    with torch.no_grad():
        guess = torch.cat([network(part) for part in x.split(chunk)])
    return float(((guess - z).square() * _unit_weights(z, sent)).sum() / len(z))


def _is_image(task: Task) -> bool:
    return len(task.input_shape) == 3


@contextmanager
def _suitable_kernels(client: nn.Module) -> Iterator[None]:
    """Torch's own CPU convolutions instead of oneDNN's, for a client that is one first layer.

    oneDNN's gradient with respect to an input of 1 to 3 channels takes 2 to 4 times as long as
    torch's; with more channels it is the faster one. The choice depends on the network alone.
    """
    convolutions = [m for m in client.modules() if isinstance(m, nn.Conv2d)]
    shallow = bool(convolutions) and all(m.in_channels <= 3 for m in convolutions)
    backend: Any = torch.backends.mkldnn
    before = backend.enabled
    backend.enabled = before and not shallow
    try:
        yield
    finally:
        backend.enabled = before
