"""The shadow: the attacker's own client, trained until it serves the server's network as well.

Adversary: an honest-but-curious server (or a party that colludes with it) that hears smashed data
z, knows the client's architecture and the server's trained network f_s, and has its own labeled
samples (x', y') of the same task (aux). It makes no queries.

Idea (He, Zhang and Lee 2019, section 6, equations 5 and 6): train a shadow f^ of the client on
    min over f^   mean of CE(f_s(f^(x')), y'),   f_s frozen,
and invert what was heard with the white box, as if f^ were the client. But a network that
classifies like the client need not compute like it: the attack works behind a first layer, and
fades with every further one. The diagnostic `shadow_accuracy`, that of f_s behind f^ on held-out
aux samples, tells whether f^ is trained.

The white box (`whitebox`) rehearses on aux samples, and adapts to defenses. It attacks the targets
through a network that is not quite the client, so its rehearsal must do so, too: other shadows,
from other random weights, play the client, with the defense if its public parameters (mechanism)
are known. (If the first shadow's own answers were inverted, hardly any smoothing would seem best.)
How much two shadows differ is luck, so three shadows play the client, each for every third sample.
The white box doesn't start from a decoder unless it is asked to (`WhiteBox.without_decoder`).

Departures from the paper (text P, published code C):
1. As in C, the shadow learns by Adam with AMSGrad and epsilon 1e-3, at a rate that is halved nine
   times at equal intervals, for 50 epochs. Unlike C, it makes at least `least_steps` steps, since
   an attacker may have few samples.
2. A tenth of aux is held out, only for `shadow_accuracy`.
3. TV, rate and steps of the inversion are chosen by rehearsal. C has 500 steps of 0.1 and one TV
   weight.
4. If f_s ends in features (U-shaped), a tail of the attacker's own turns them into logits and
   learns together with the shadow. P and C have no such case. (An f_s with one output per class is
   taken to end in logits.)
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.rehearsal import tuned
from sltoolkit.attacks.inversion._observation import StandIn, WhiteBoxView, released
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.networks.substitutes import tail_network
from sltoolkit.parameters.grids import chosen
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.progress import part
from sltoolkit.streams import Stream

RIVALS = 3
"""How many other shadows play the client in the white box's rehearsal."""

HALVINGS = 9
"""How often the learning rate is halved: every 5 of C's 50 epochs."""

_WHITE_BOX = WhiteBox()


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowView:
    """What the shadow needs, and the defense's public parameters if they are known."""

    smashed: Tensor
    server_weights: nn.Module
    client_arch: Callable[[Stream], nn.Module]
    aux: Aux
    task: Task
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True)
class Shadow(Attack[ShadowView]):
    """Reconstruct inputs through a client that was trained to suit the server.

    The white box chooses those of its parameters that are None by a rehearsal on other shadows.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ShadowView
    citation: ClassVar[str] = (
        "He, Zhang, Lee 2019, Model inversion attacks against collaborative inference (ACSAC), "
        "section 6"
    )

    epochs: Annotated[int, Parameter("passes over aux", least=0)] = 50
    least_steps: Annotated[
        int, Parameter("minimum number of training steps, if the epochs have fewer", least=0)
    ] = 1500
    lr: Annotated[float, Parameter("initial learning rate of the shadow", above=0)] = 1e-3
    batch_size: Annotated[int, Parameter("aux samples per step", least=1)] = 64
    held_out: Annotated[
        float,
        Parameter("share of aux that only measures the shadow's accuracy", least=0, below=1),
    ] = 0.1
    inversion: Annotated[WhiteBox, Parameter("how the shadow is inverted")] = _WHITE_BOX

    @classmethod
    def smoke(cls) -> Self:
        """Two steps of training, and three of inversion."""
        return cls(epochs=1, least_steps=2, inversion=WhiteBox.smoke())

    def candidates(self, view: ShadowView) -> Sequence[Self]:
        """Only the attack itself: the white box rehearses in `run`."""
        return (self,)

    def run(self, view: ShadowView, *, rng: Stream) -> Reconstruction:
        """Train the shadow, and invert through it.

        Raises:
            SpecError: if aux is too small to train on and to hold some out.
        """
        count = len(view.aux.x)
        kept = max(1, round(self.held_out * count))
        if count - kept < 2:
            raise SpecError(f"the shadow needs at least 3 aux samples, got {count}")
        order = torch.randperm(count, generator=rng.torch()).to(view.aux.x.device)
        own, check = (
            Aux(x=view.aux.x[rows], y=view.aux.y[rows]) for rows in (order[kept:], order[:kept])
        )
        with part(0.3):
            shadow, accuracy = self._train(view, own, check, rng.child("shadow"))
        release, inversion = None, self.inversion.without_decoder()
        if inversion.rehearses:
            with part(0.4):
                streams = [rng.child(f"rival{number}") for number in range(RIVALS)]
                rivals = [self._train(view, own, check, stream)[0] for stream in streams]
            release = released(InTurn(rivals), view.mechanism, rng.child("defense"))
        seen = WhiteBoxView(
            smashed=view.smashed, client_weights=StandIn(shadow), task=view.task, aux=view.aux,
            release=release, mechanism=view.mechanism,
        )  # fmt: skip
        stream = rng.child("inversion")
        inversion = tuned(inversion, seen, rng=stream.child("rehearsal"))
        found = inversion.run(seen, rng=stream)
        return replace(
            found,
            tuned=chosen(self, replace(self, inversion=inversion)),
            diagnostics={**found.diagnostics, "shadow_accuracy": accuracy},
        )

    def _train(
        self, view: ShadowView, own: Aux, check: Aux, rng: Stream
    ) -> tuple[nn.Module, float]:
        """A shadow in evaluation mode, and its accuracy on held-out samples."""
        server = copy.deepcopy(view.server_weights).eval().requires_grad_(False)
        shadow = view.client_arch(rng.child("client")).to(own.x.device)
        with rng.scope():
            whole = nn.Sequential(shadow, _Apart(), server, _end(shadow, server, own.x, view.task))
            fit(
                whole, own, steps=max(self.least_steps, self.epochs * _batches(own, self)),
                lr=self.lr, batch_size=self.batch_size,
            )  # fmt: skip
        with torch.no_grad():
            logits = torch.cat([whole.eval()(x) for x in check.x.split(512)])
        hits = (logits.argmax(1) == check.y).double().mean()
        return shadow.requires_grad_(False), float(hits)


def _batches(own: Aux, how: Shadow) -> int:
    return max(1, len(own.y) // how.batch_size)


def fit(whole: nn.Sequential, own: Aux, *, steps: int, lr: float, batch_size: int) -> None:
    """Train the parts that aren't frozen to classify; frozen parts stay in evaluation mode.

    Args:
        whole: a network from inputs to logits.
        own: the samples to learn from, drawn without replacement in every epoch.
        steps: steps of Adam with AMSGrad.
        lr: the initial learning rate, which is halved `HALVINGS` times.
        batch_size: samples per step.
    """
    learning = [part for part in whole if any(p.requires_grad for p in part.parameters())]
    weights = [p for part in learning for p in part.parameters() if p.requires_grad]
    if not weights:
        return
    optimizer = torch.optim.Adam(weights, lr=lr, eps=1e-3, amsgrad=True)
    whole.eval()
    for network in learning:
        network.train()
    rows = own.y[:0]
    size = min(batch_size, len(own.y))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 ** (step * (HALVINGS + 1) // steps)
        # a shorter batch at an epoch's end is left out: BatchNorm can't learn from one sample
        if len(rows) < size:
            rows = torch.randperm(len(own.y)).to(own.y.device)
        batch, rows = rows[:size], rows[size:]
        loss = functional.cross_entropy(whole(own.x[batch]), own.y[batch])
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = slope
        optimizer.step()


@final
class InTurn(nn.Module):
    """R networks that answer in turn: each answers every R-th row of a batch.

    Args:
        networks: R networks whose outputs have one shape.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Their answers, (B, ...)."""
        asked = self.networks[: len(x)]  # not every network takes an empty batch
        answers = [network(x[i :: len(self.networks)]) for i, network in enumerate(asked)]
        out: Tensor = answers[0].new_empty((len(x), *answers[0].shape[1:]))
        for i, answer in enumerate(answers):
            out[i :: len(self.networks)] = answer
        return out


@final
class _Apart(nn.Module):
    """Passes on a copy, which a server whose first layer works in place may rewrite."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _end(shadow: nn.Module, server: nn.Module, x: Tensor, task: Task) -> nn.Module:
    """What follows the server: nothing, or the attacker's own tail if it ends in features."""
    with torch.no_grad():
        out = server(copy.deepcopy(shadow).eval()(x[:1]))
    if tuple(out.shape[1:]) == (task.classes,):
        return nn.Identity()
    return tail_network(out.shape[1:], task.classes).to(x.device)
