"""The deep image prior: among the images that a small network draws, find the one that explains z.

Adversary: the same as the white box's. It hears the smashed data z of the targets and holds the
client's trained weights (colluding parties, clients that share weights, a published first part). It
needs no data. If it has its own samples (aux) and queries (release), it rehearses to choose its
settings.

Idea (Ulyanov, Vedaldi and Lempitsky 2018, equation 2, and section 4.1 for features): the image is
drawn by a U-Net G from fixed noise n. G starts from random weights w, on which the attack descends,
    min over w   mean over sent units (f(G(n; w)) - z)^2  +  tv_weight * TV(G(n; w)),
with f the client. Such networks draw natural structure sooner than noise, which takes the place of
a prior. So the descent must stop early: it stops when the loss stands still. Every target has its
own weights. All start from the same weights and the same n, so that no target's image depends on
how many others there are.

Adaptive in the way of the white box (`_observation`): releases are averaged, and withheld channels
are left out. If the defense's public parameters (mechanism) are known, the rehearsal also tries the
defended client as f.

Departures from the paper:
1. The U-Net has `width` channels instead of 128. Its number of levels is such that the smallest map
   keeps sides of 4 pixels or more, instead of 5 levels. It normalizes each image by itself, as the
   paper's BatchNorm does with its batches of one image.
2. Adam and the optional TV are as in the paper. The feature error is a mean over units, without the
   paper's jitter and without noise added to n.
3. Weights of the TV are compared on the attacker's own samples. The paper uses no TV here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sltoolkit.adversary.descended import Descended
from sltoolkit.adversary.descent import Chunk, Descent, Window, constant
from sltoolkit.adversary.total_variation import total_variation
from sltoolkit.attacks.inversion._observation import (
    KnownClient,
    Observation,
    OpenForward,
    UnlabeledView,
    forwards,
    suitable_kernels,
)
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.stacked import stack
from sltoolkit.networks.unet import skip_network
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

TV_WEIGHTS = (0.0, 1e-2, 1.0)
"""The weights of the TV that a rehearsal compares."""

NOISE = 32
"""Channels of the noise, uniform in [0, 1/10]."""

_SMALLEST = 8


@final
@dataclass(frozen=True, kw_only=True)
class DeepImagePrior(Attack[KnownClient]):
    """Reconstruct images by fitting a network per image to what was heard.

    Parameters that are None are chosen by rehearsal. Without aux and release there is no rehearsal;
    then there is no TV, and the descent goes through the client itself.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UnlabeledView
    citation: ClassVar[str] = "Ulyanov, Vedaldi, Lempitsky 2018, Deep image prior (CVPR)"

    steps: Annotated[int, Parameter("maximum number of steps", least=1)] = 2000
    lr: Annotated[float, Parameter("step size of Adam", above=0)] = 1e-2
    width: Annotated[int, Parameter("channels of the U-Net", least=1)] = 16
    tv_weight: Annotated[
        float | None,
        Parameter("weight of the total variation (exponent 1)", least=0, grid=TV_WEIGHTS),
    ] = None
    forward: OpenForward = None
    window: Window = 200
    chunk: Chunk = 64

    @classmethod
    def smoke(cls) -> Self:
        """Two steps of a narrow network."""
        return cls(steps=2, width=4)

    def refuses(self, task: Task) -> str | None:
        """Refuse anything but images of at least 8x8 pixels."""
        if len(task.input_shape) != 3 or min(task.input_shape[1:]) < _SMALLEST:
            return f"a U-Net draws images of at least 8x8 pixels, not {task.input_shape}"
        return None

    def candidates(self, view: KnownClient) -> Sequence[Self]:
        """Every combination of a forward model and a TV weight."""
        models = forwards(self.forward, view)
        weights = TV_WEIGHTS if self.tv_weight is None else (self.tv_weight,)
        return [replace(self, forward=f, tv_weight=w) for f, w in product(models, weights)]

    def run(self, view: KnownClient, *, rng: Stream) -> Reconstruction:
        """Fit a network to every target of the view.

        The diagnostics are means over targets: the final `feature_loss` and the `steps` made.

        Raises:
            ThreatModelError: if `forward` asks for a mechanism that is not granted.
        """
        fixed = self.candidates(view)[0]
        heard = Observation.of(view, fixed.forward, rng=rng)
        with rng.child("descent").scope(), suitable_kernels(heard.client):
            shape = view.task.input_shape
            prior = skip_network(shape, noise=NOISE, width=self.width).to(heard.z)
            n = torch.rand(1, NOISE, *shape[1:]).to(heard.z) / 10
            found = fixed._descend(heard, prior, n)
            images = found.trace[self.steps]
            smooth = (fixed.tv_weight or 0.0) * total_variation(images)
        return found.reconstruction(images, smooth=smooth)

    def _descend(self, heard: Observation, prior: nn.Module, n: Tensor) -> Descended:
        """Descend on weights of the prior (N, ...), one row per target."""
        stacked = stack([prior])  # of one network: the leaves bring their own number of rows
        names = [name for name, _ in stacked.named_parameters()]

        def drawn(leaves: list[Tensor]) -> Tensor:
            noise = n.expand(len(leaves[0]), *n.shape[1:])
            images: Tensor = functional_call(
                stacked, dict(zip(names, leaves, strict=True)), (noise,)
            )
            return images

        def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
            images = drawn(leaves)
            loss = heard.feature_loss(images, rows)
            return loss + self.tv_weight * total_variation(images) if self.tv_weight else loss

        how = Descent(
            steps=self.steps, rate=constant(self.lr), window=self.window or None,
            chunk=self.chunk, show=drawn,
        )  # fmt: skip
        weights = [p.expand(len(heard.z), *p.shape[1:]) for p in stacked.parameters()]
        return how.run(objective, weights)
