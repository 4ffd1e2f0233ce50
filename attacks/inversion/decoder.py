"""The decoder: an inverse network trained on answers of the deployed client.

Adversary: a party that hears the smashed data z of the targets, holds samples of its own (aux) and
can put them through the deployed, defended client (release): a server, an eavesdropper, or
colluding parties. It knows no weights. If it sees the targets' labels y, it uses them.

Idea (He, Zhang and Lee 2019, section 5): learn d with d(z) = x from the attacker's own pairs,
    min_d  E over aux of  loss(d(z(x), y), x),
and apply it to what was heard. The loss is the one by which reconstructions are judged
(`sltoolkit.metrics.losses`): for images MSE + (1 - SSIM), and for other inputs the squared error.
The attack is adaptive by nature: the decoder is trained on exactly what crosses the wire, with the
defense and with fresh noise in every pass over aux. With the squared error, it computes at best the
posterior mean under the defense. R releases of one target are averaged, and so are those of the
samples it is trained on.

There are three families of d (`sltoolkit.networks.decoders`): `mirror`, the client's mirror image
(He et al.), and `conv_norm` and `res_norm`, with N blocks of C channels (Li et al. 2022, ResSFL, up
to N4C64; Xia et al. 2025, CEM, N8C64). N and C are the parameters `blocks` and `width`. Labels
enter as a further channel, as in Zhu et al. 2025 (SDAR).

Departures from the papers:
1. The networks infer strides from shapes instead of mirroring the client's architecture, which this
   adversary does not know. Each network normalizes what it hears, has a learned offset per pixel,
   and starts from the mean image (`sltoolkit.networks.inverse`).
2. The learning rate falls along a cosine from 3e-3 over 1,500 steps, or over 30 passes over aux if
   these are more (`sltoolkit.adversary.inverse_training`). The papers train for 50 passes at 1e-3.
   (1e-2 is as good behind convolutions, but up to 50 times worse in squared error where dense
   layers decode features.)
3. A tenth of aux is held out, and the step that does best on it is kept; if none has done better
   for long, the training stops. With fewer than 100 samples, cross-validation chooses the number of
   steps, and then the network learns from all of them.
4. The papers minimize the squared error (`loss="mse"`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, ClassVar, Literal, Self, final

import torch
from torch.utils.flop_counter import FlopCounterMode

from sltoolkit.adversary.inverse_training import (
    FEWEST_SAMPLES,
    FEWEST_TO_REHEARSE,
    HELD_OUT,
    Inverse,
    Pairs,
    steps_for,
    trained_inverse,
)
from sltoolkit.adversary.objectives import unfit
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics.losses import LOSSES, Objective, objectives
from sltoolkit.networks.fitting import Fit, decode
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

Design = Literal["mirror", "conv_norm", "res_norm"]


@final
@dataclass(frozen=True)
class Setting:
    """One of the settings that a rehearsal compares; the fields are those of `Decoder`."""

    design: Design
    blocks: int
    width: int
    lr: float
    loss: Objective


SETTINGS = (
    Setting("mirror", 1, 16, 3e-3, "both"), Setting("mirror", 1, 16, 3e-3, "mse"),
    Setting("mirror", 1, 16, 3e-3, "ssim"), Setting("mirror", 1, 16, 1e-2, "both"),
    Setting("mirror", 1, 32, 3e-3, "both"), Setting("conv_norm", 0, 16, 3e-3, "both"),
    Setting("res_norm", 0, 16, 3e-3, "both"), Setting("mirror", 1, 64, 3e-3, "both"),
    Setting("conv_norm", 4, 64, 3e-3, "both"), Setting("res_norm", 4, 64, 3e-3, "both"),
    Setting("conv_norm", 8, 64, 3e-3, "both"), Setting("res_norm", 8, 64, 3e-3, "both"),
)  # fmt: skip
"""The settings that a rehearsal compares, in this order; without one, the first is taken.

For inputs that are not judged by SSIM, the loss of each is the squared error.
"""

LONGER = (3, 9)
"""By how much a rehearsal lengthens the best setting, for as long as that helps."""


@final
@dataclass(frozen=True, kw_only=True)
class Decoder(Attack[LabeledQueryView]):
    """Reconstruct inputs with a network trained to invert the release.

    Parameters that are None take their values from the first of `SETTINGS` that agrees with the
    given ones. If there is a `budget`, a rehearsal chooses them, and they are in the outcome's
    `tuned`.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = LabeledQueryView
    citation: ClassVar[str] = (
        "He, Zhang, Lee 2019, Model inversion attacks against collaborative inference (ACSAC); "
        "conv_norm and res_norm: Li et al. 2022, ResSFL (CVPR)"
    )

    steps: Annotated[
        int | None,
        Parameter(
            "the most steps of a training; None: 1,500, or 30 passes over aux if these are more",
            least=1,
        ),
    ] = None
    design: Annotated[
        Design | None,
        Parameter(
            "the family of networks: `mirror`, `conv_norm` or `res_norm`",
            grid=tuple(dict.fromkeys(setting.design for setting in SETTINGS)),
        ),
    ] = None
    blocks: Annotated[
        int | None,
        Parameter(
            "N: blocks besides those that change the resolution", least=0,
            grid=tuple(dict.fromkeys(setting.blocks for setting in SETTINGS)),
        ),
    ] = None  # fmt: skip
    width: Annotated[
        int | None,
        Parameter(
            "C: channels at full resolution", least=1,
            grid=tuple(dict.fromkeys(setting.width for setting in SETTINGS)),
        ),
    ] = None  # fmt: skip
    lr: Annotated[
        float | None,
        Parameter(
            "initial learning rate of Adam", above=0,
            grid=tuple(dict.fromkeys(setting.lr for setting in SETTINGS)),
        ),
    ] = None  # fmt: skip
    loss: Annotated[
        Objective | None,
        Parameter(
            "what the network minimizes: `mse`, `ssim` (1 - SSIM), or `both` (their sum)",
            grid=tuple(dict.fromkeys(setting.loss for setting in SETTINGS)),
        ),
    ] = None
    budget: Annotated[
        float,
        Parameter(
            "cost of a rehearsal, in operations, as a multiple of training the first setting; "
            "settings are compared in order while they fit, and then longer trainings of the best: "
            "one setting below 2, the losses at 3, up to twice the width at about 10, all at 100",
            least=0,
        ),
    ] = 3.0
    batch_size: Annotated[int, Parameter("pairs per step", least=1)] = 64
    held_out: Annotated[
        float,
        Parameter(
            "share of aux that chooses the number of steps; 0: all steps are made", least=0, below=1
        ),
    ] = HELD_OUT

    @classmethod
    def smoke(cls) -> Self:
        """Four steps of narrow networks, two of which a rehearsal compares."""
        return cls(steps=4, width=4, lr=1e-2, budget=2.5)

    @property
    def rehearses(self) -> bool:
        """Whether there is a budget and an open parameter to spend it on."""
        return self.budget > 0 and super().rehearses

    def refuses(self, task: Task) -> str | None:
        """Refuse inputs or smashed data with more than two spatial axes, and an unfit loss."""
        if max(len(task.input_shape), len(task.smashed_shape)) > 3:
            return "its networks are for (C, H, W), (C, L) and (d,), not for volumes"
        return unfit(self.loss, task.input_shape)

    def run(self, view: LabeledQueryView, *, rng: Stream) -> Reconstruction:
        """Train on aux, then decode the mean of the targets' releases.

        Raises:
            SpecError: if aux is too small to train on and to hold some out.
        """
        x, labels, repeats = view.aux.x, view.labels, len(view.smashed)
        if len(x) < FEWEST_SAMPLES:
            raise SpecError(
                f"the decoder needs at least {FEWEST_SAMPLES} aux samples, got {len(x)}"
            )
        setting = self._settings(view.task)[0]
        inverse = _inverse(setting)
        pairs = Pairs(
            x=x,
            y=None if labels is None else view.aux.y,
            draw=lambda rows: view.release.mean(x[rows], repeats=repeats),
        )
        with rng.scope():
            network, error = trained_inverse(
                lambda: inverse.network(view.task, labels=labels is not None, mean=x.mean(0)),
                pairs,
                how=Fit(
                    steps=self.steps or steps_for(len(x), self.batch_size),
                    lr=setting.lr,
                    batch_size=self.batch_size,
                    loss=LOSSES[setting.loss],
                ),
                held_out=self.held_out,
            )
        return Reconstruction(
            images=decode(network, view.smashed.mean(0), labels),
            diagnostics={"held_out_loss": error},
        )

    def candidates(self, view: LabeledQueryView) -> Sequence[Self]:
        """The settings that agree with the given parameters, as far as the budget goes."""
        return [replace(self, **asdict(setting)) for setting, _ in self._affordable(view)]

    def refinements(self, best: Self, view: LabeledQueryView) -> Sequence[Self]:
        """The best setting and longer trainings of it, as far as the budget goes."""
        if self.steps is not None or not self._can_rehearse(view):
            return (best,)
        first, spent = self._affordable(view)[0][1], sum(c for _, c in self._affordable(view))
        cost = _operations(best._settings(view.task)[0], view)
        length = steps_for(len(view.aux.x), self.batch_size)
        longer: list[Self] = [best]
        for times in LONGER:
            spent += times * cost
            if spent > self.budget * first:
                break
            longer.append(replace(best, steps=times * length))
        return longer

    def _can_rehearse(self, view: LabeledQueryView) -> bool:
        return self.rehearses and len(view.aux.x) >= FEWEST_TO_REHEARSE

    def _affordable(self, view: LabeledQueryView) -> list[tuple[Setting, int]]:
        """Settings, as far as the budget goes, and the operations of a sample in each."""
        settings = self._settings(view.task)
        if len(view.task.input_shape) == 1:  # dense layers, whatever the design
            settings = [s for s in settings if s.design == settings[0].design]
        if not self._can_rehearse(view):
            return [(settings[0], 1)]
        found = [(settings[0], _operations(settings[0], view))]
        for setting in settings[1:]:
            cost = _operations(setting, view)
            if sum(c for _, c in found) + cost > self.budget * found[0][1]:
                break
            found.append((setting, cost))
        return found

    def _settings(self, task: Task) -> list[Setting]:
        """The settings of the given design, with the given parameters in place of their own."""
        given = {f.name: getattr(self, f.name) for f in fields(Setting)}
        given = {name: value for name, value in given.items() if value is not None}
        if len(objectives(task.input_shape)) == 1:
            given = {"loss": objectives(task.input_shape)[0], **given}
        agreeing = (s for s in SETTINGS if self.design in (None, s.design))
        return list(dict.fromkeys(replace(s, **given) for s in agreeing))


def _inverse(setting: Setting) -> Inverse:
    return Inverse(design=setting.design, blocks=setting.blocks, width=setting.width)


def _operations(setting: Setting, view: LabeledQueryView) -> int:
    """How many operations a forward pass of one sample takes, counted without computing it."""
    labels = view.labels is not None
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        given = [torch.zeros(1, *view.task.smashed_shape, device="meta")]
        if labels:
            given.append(torch.zeros(1, dtype=torch.int64, device="meta"))
        _inverse(setting).network(view.task, labels=labels, mean=None).eval()(*given)
    return int(counter.get_total_flops())
