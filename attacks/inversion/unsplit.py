"""UnSplit: the input and the client that smashed it, found together from smashed data alone.

Adversary: an honest-but-curious server, or another party that hears smashed data z and knows the
client's architecture. It has no weights and no data of its own, and makes no queries.

Idea (Erdogan, Kupcu and Cicek 2022, section 3): for every target, find an image x and a clone f of
the client, with weights w, that together explain what was heard,
    min over x, w   mean over sent units (f(x; w) - z)^2 + tv_weight * TV(x) + l2_weight * mean x^2.
The two take turns: `input_steps` of Adam on x with all three terms, then `client_steps` on w with
the first term alone, `rounds` times over. Every target has its own clone, which starts from its own
random weights, and two optimizers of its own. All targets descend at once
(`sltoolkit.networks.stacked`, `descent`).

The attack can't know the contrast: if x is scaled or negated and the first layer's weights make up
for it, only the two small terms change, and they shrink x as long as the descent lasts. So x is a
rescaled and sometimes an inverted image. The metric `mse_affine` is the error that remains when the
contrast of each image is given away. The attack is strong if the client is one convolution; behind
a second one it mostly finds another explanation of what was heard.

Adaptive: releases are averaged. Maps that are identically zero count as withheld and are left out
of the loss (`_observation`).

Departures from the paper (P) and its published code (C, which also fixes what P leaves open):
1. There are fewer and longer steps than in C, which makes 2 * 10^5 steps of 1e-3 per target
   (`UnSplit.paper()`). A target stops when its loss has not fallen by a thousandth within `window`
   rounds.
2. Every target gets a new clone, with weights from the layers' own initialization. C passes the
   same clone on from target to target, so that its results depend on their order.
3. The clone is in evaluation mode, as the deployed client is. So its BatchNorm, with statistics 0
   and 1, is a learned scale and shift per channel, as the client's is. With the statistics of a
   batch of one it would erase what tells targets apart. (C's networks have no BatchNorm.)
4. TV is a mean over all pixels. C divides each direction's sum by its number of differences.
5. The result is x itself. C stretches each CIFAR-10 image to [0, 1] before it compares it with the
   truth; the parameter `stretch` does this.
6. Feature vectors start at 0, and have no TV.
7. TV and mean square of x weigh 0.01 each. C's weights, 0.1 and 1, darken x so much that a plain
   loop without them has the better SSIM (`benchmarks/strength.py`). The new weights were chosen by
   true errors on MNIST, digits and photographs, since this attacker has nothing to rehearse on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sltoolkit.adversary.descent import Chunk, Descent, Turn, constant, squared_error
from sltoolkit.adversary.total_variation import has_neighbors, total_variation
from sltoolkit.attacks.inversion._observation import observe, unit_weights
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.stacked import stack
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class UnSplitView:
    """What UnSplit needs: what was heard, and the architecture of the client that sent it."""

    smashed: Tensor
    client_arch: Callable[[Stream], nn.Module]
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class UnSplit(Attack[UnSplitView]):
    """Reconstruct inputs together with the client network that smashed them."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UnSplitView
    citation: ClassVar[str] = (
        "Erdogan, Kupcu, Cicek 2022, UnSplit: Data-oblivious model inversion, model stealing, and "
        "label inference attacks against split learning (WPES; arXiv:2108.09033)"
    )

    rounds: Annotated[int, Parameter("rounds in which inputs and clones take turns", least=1)] = 32
    input_steps: Annotated[int, Parameter("steps on the input, per round", least=1)] = 50
    client_steps: Annotated[
        int,
        Parameter("steps on the clone's weights, per round; 0 leaves the clone as it is", least=0),
    ] = 50
    lr: Annotated[float, Parameter("step size of both optimizers, Adam with AMSGrad", above=0)] = (
        3e-3
    )
    tv_weight: Annotated[float, Parameter("weight of the total variation", least=0)] = 0.01
    tv_beta: Annotated[int, Parameter("exponent of the total variation", least=1, most=2)] = 2
    l2_weight: Annotated[float, Parameter("weight of the mean squared input", least=0)] = 0.01
    stretch: Annotated[
        bool,
        Parameter("whether each result is stretched to [0, 1], which guesses its contrast"),
    ] = False
    window: Annotated[
        int, Parameter("rounds without progress after which a target stops; 0: never", least=0)
    ] = 4
    chunk: Chunk = 64

    @classmethod
    def paper(cls) -> Self:
        """The setting of the published code: 1000 rounds of 100 steps each, at 1e-3."""
        return cls(
            rounds=1000, input_steps=100, client_steps=100, lr=1e-3, tv_weight=0.1, l2_weight=1.0,
            window=0,
        )  # fmt: skip

    @classmethod
    def smoke(cls) -> Self:
        """Two rounds of two steps."""
        return cls(rounds=2, input_steps=2, client_steps=2)

    def run(self, view: UnSplitView, *, rng: Stream) -> Reconstruction:
        """Descend on all targets of the view, and on a clone for each.

        The diagnostics are means over targets: the final `feature_loss` and the `rounds` made.
        """
        clones = _Clones.of(view, rng)
        start = clones.z.new_full(
            (len(clones.z), *view.task.input_shape), 0.5 if view.task.bounded else 0.0
        )

        def on_input(leaves: list[Tensor], rows: Tensor) -> Tensor:
            x = leaves[0]
            loss = clones.error(leaves, rows) + self.l2_weight * x.square().flatten(1).mean(1)
            if self.tv_weight and has_neighbors(x.shape[1:]):
                loss = loss + self.tv_weight * total_variation(x, beta=self.tv_beta)
            return loss

        def shown(leaves: list[Tensor]) -> Tensor:
            return stretched(leaves[0]) if self.stretch else leaves[0]

        found = Descent(
            steps=self.rounds, rate=constant(self.lr), chunk=self.chunk, show=shown,
            optimizer=partial(torch.optim.Adam, amsgrad=True, fused=True),
            window=self.window or None,
        ).run(
            clones.error, [start, *clones.weights],
            turns=[
                Turn(objective=on_input, leaves=slice(0, 1), steps=self.input_steps),
                Turn(objective=clones.error, leaves=slice(1, None), steps=self.client_steps),
            ],
        )  # fmt: skip
        return Reconstruction(
            images=found.trace[self.rounds],
            trace=found.trace,
            curve=found.mean_curve(),
            diagnostics={
                "feature_loss": float(found.loss.mean()),
                "rounds": float(found.steps.double().mean()),
            },
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Clones:
    """A clone of the client for each of N targets, and the targets' smashed data.

    Attributes:
        network: all clones as one network from inputs to smashed data (`stack`).
        z: smashed data, (N, ...), merged over releases.
        units: the weights of the units in the loss, (N, ...); None if all weigh the same.
    """

    network: nn.Module
    z: Tensor
    units: Tensor | None

    @classmethod
    def of(cls, view: UnSplitView, rng: Stream) -> Self:
        """A clone for every target, each from its own random weights."""
        z, sent = observe(view.smashed, masked=view.smashed.dim() > 3)
        units = unit_weights(z, sent) if bool((sent == 0).any()) else None
        clones = [view.client_arch(rng.child(f"clone{row}")).to(z.device) for row in range(len(z))]
        return cls(network=stack(clones), z=z, units=units)

    @property
    def weights(self) -> list[Tensor]:
        """The clones' parameters, (N, ...) each."""
        return list(self.network.parameters())

    def error(self, leaves: list[Tensor], rows: Tensor) -> Tensor:
        """How far the answers of these targets' clones are from what was heard, (M,).

        Args:
            leaves: inputs (M, ...), and the clones' parameters, (M, ...) each.
            rows: the targets, (M,).
        """
        x, *weights = leaves
        names = [name for name, _ in self.network.named_parameters()]
        tensors = dict(zip(names, weights, strict=True))
        constants = {name: value[rows] for name, value in self.network.named_buffers()}
        # a copy: a client whose first layer works in place may not do so on a leaf
        guess = functional_call(self.network, {**tensors, **constants}, (x.clone(),))
        return squared_error(guess, self.z[rows], None if self.units is None else self.units[rows])


def stretched(x: Tensor) -> Tensor:
    """Each input of (N, ...), stretched so that it spans [0, 1]; a constant input becomes 0."""
    flat = x.flatten(1)
    low = flat.min(1, keepdim=True).values
    span = flat.max(1, keepdim=True).values - low
    return ((flat - low) / span.where(span > 0, 1.0)).reshape(x.shape)
