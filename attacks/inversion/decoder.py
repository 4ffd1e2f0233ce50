"""The decoder: an inverse network trained on answers of the deployed client.

Adversary: a party that hears the smashed data z of the targets, holds samples of its own (aux) and
can put them through the deployed, defended client (release): a server, an eavesdropper, or
colluding parties. It knows no weights. If it sees the targets' labels y, it uses them.

Idea (He, Zhang and Lee 2019, section 5): learn d with d(z) = x from the attacker's own pairs,
    min_d  E over aux of || d(z(x), y) - x ||^2,
and apply it to what was heard. The attack is adaptive by nature: the decoder is trained on exactly
what crosses the wire, with the defense and with fresh noise in every epoch, so at best it computes
the posterior mean under the defense. R releases of one target are averaged, and so are those of the
samples it is trained on.

There are three families of d (`sltoolkit.networks.decoders`): `mirror`, the client's mirror image
(He et al.), and `conv_norm` and `res_norm`, with N blocks of C channels (Li et al. 2022, ResSFL, up
to N4C64; Xia et al. 2025, CEM, N8C64). N and C are the parameters `blocks` and `width`. Labels
enter as a further channel, as in Zhu et al. 2025 (SDAR).

Departures from the papers:
1. The networks infer strides from shapes instead of mirroring the client's architecture, which this
   adversary does not know. Each network normalizes what it hears, has a learned offset per pixel,
   and starts from the mean image (`sltoolkit.networks.inverse`).
2. The learning rate falls along a cosine from 3e-3 over 30 epochs. The papers train for 50 epochs
   at 1e-3. (10 epochs are enough on undefended smashed data, but understate what NoPeek leaks. 1e-2
   is as good behind convolutions, but up to 50 times worse in squared error where dense layers
   decode features.)
3. A tenth of aux is held out, and the epoch that does best on it is kept.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.networks.inverse import decode, fit_inverse, inverse_error, inverse_network
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


SETTINGS = (
    Setting("mirror", 1, 16, 3e-3), Setting("mirror", 1, 16, 1e-2), Setting("mirror", 1, 32, 3e-3),
    Setting("conv_norm", 0, 16, 3e-3), Setting("res_norm", 0, 16, 3e-3),
    Setting("mirror", 1, 64, 3e-3),
    Setting("conv_norm", 4, 64, 3e-3), Setting("res_norm", 4, 64, 3e-3),
    Setting("conv_norm", 8, 64, 3e-3), Setting("res_norm", 8, 64, 3e-3),
)  # fmt: skip
"""The settings that a rehearsal compares, in this order; without one, the first is taken."""


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

    epochs: Annotated[
        int, Parameter("passes over aux, each with a fresh release of it", least=1)
    ] = 30
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
    budget: Annotated[
        float,
        Parameter(
            "cost of a rehearsal, in operations, as a multiple of training the first setting; "
            "settings are compared in order while they fit: one below 2, up to twice the width at "
            "about 8, all at 100",
            least=0,
        ),
    ] = 0.0
    batch_size: Annotated[int, Parameter("pairs per step", least=1)] = 64
    held_out: Annotated[
        float, Parameter("share of aux that chooses the epoch", least=0, below=1)
    ] = 0.1

    @classmethod
    def smoke(cls) -> Self:
        """Two epochs of narrow networks, two of which a rehearsal compares."""
        return cls(epochs=2, width=4, lr=1e-2, budget=2.5)

    @property
    def rehearses(self) -> bool:
        """Whether there is a budget and an open parameter to spend it on."""
        return self.budget > 0 and super().rehearses

    def refuses(self, task: Task) -> str | None:
        """Refuse inputs or smashed data with more than two spatial axes."""
        if max(len(task.input_shape), len(task.smashed_shape)) > 3:
            return "its networks are for (C, H, W), (C, L) and (d,), not for volumes"
        return None

    def run(self, view: LabeledQueryView, *, rng: Stream) -> Reconstruction:
        """Train on aux, then decode the mean of the targets' releases.

        Raises:
            SpecError: if aux is too small to train on and to hold some out.
        """
        x, labels, repeats = view.aux.x, view.labels, len(view.smashed)
        kept = max(1, round(self.held_out * len(x)))
        if len(x) - kept < 2:
            raise SpecError(f"the decoder needs at least 3 aux samples, got {len(x)}")
        order = torch.randperm(len(x), generator=rng.torch()).to(x.device)
        own, check = order[kept:], order[:kept]
        setting = self._settings()[0]
        with rng.scope():
            network = _network(setting, view, x[own].mean(0)).to(x.device)
            pairs = [view.release.mean(x[check], repeats=repeats), x[check]]
            if labels is not None:
                pairs.append(view.aux.y[check])
            fit_inverse(
                lambda _: view.release.mean(x[own], repeats=repeats),
                x[own],
                y=None if labels is None else view.aux.y[own],
                network=network,
                epochs=self.epochs,
                lr=setting.lr,
                batch_size=self.batch_size,
                held_out=pairs,
            )
        return Reconstruction(
            images=decode(network, view.smashed.mean(0), labels),
            diagnostics={"held_out_mse": inverse_error(network, *pairs)},
        )

    def candidates(self, view: LabeledQueryView) -> Sequence[Self]:
        """The settings that agree with the given parameters, as far as the budget goes."""
        settings = self._settings()
        if len(view.task.input_shape) == 1:  # dense layers, whatever the design
            settings = [s for s in settings if s.design == settings[0].design]
        affordable, spent = settings[:1], 1.0
        if self.rehearses:
            first = _operations(settings[0], view)
            for setting in settings[1:]:
                spent += _operations(setting, view) / first
                if spent > self.budget:
                    break
                affordable.append(setting)
        return [replace(self, **asdict(setting)) for setting in affordable]

    def _settings(self) -> list[Setting]:
        """The settings of the given design, with the given parameters in place of their own."""
        given = {f.name: getattr(self, f.name) for f in fields(Setting)}
        given = {name: value for name, value in given.items() if value is not None}
        agreeing = (s for s in SETTINGS if self.design in (None, s.design))
        return list(dict.fromkeys(replace(s, **given) for s in agreeing))


def _network(setting: Setting, view: LabeledQueryView, mean: Tensor | None) -> nn.Module:
    """A network from smashed data (and labels, if they are seen) to inputs."""
    task, shape = view.task, view.task.smashed_shape
    channel = None if view.labels is None else LabelChannel(shape, task.classes)
    body = inverse_network(
        shape if channel is None else channel.out,
        task.input_shape,
        family=setting.design,
        blocks=setting.blocks,
        width=setting.width,
        mean=mean,
    )
    return body if channel is None else Conditioned(channel, body)


def _operations(setting: Setting, view: LabeledQueryView) -> int:
    """How many operations a forward pass of one sample takes, counted without computing it."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        given = [torch.zeros(1, *view.task.smashed_shape, device="meta")]
        if view.labels is not None:
            given.append(torch.zeros(1, dtype=torch.int64, device="meta"))
        _network(setting, view, None).eval()(*given)
    return int(counter.get_total_flops())
