"""Attacks against plain loops of the same budget: what losses, lengths and schedules are worth.

    python benchmarks/strength.py [ATTACK ...] [--victims N] [--small]

A plain loop (`plain_attacks`, `plain_trainings`) has the attack's networks and makes as many steps
as the attack does in its longest single run: by Adam at a constant rate of 0.001 (0.01 where pixels
are searched for), on the squared error, without a rehearsal. Victims are LeNet on MNIST if
`SLTOOLKIT_DATA` names a folder that has it, else on the embedded digits, at 16 x 16 pixels. Attacks
on updates meet untrained networks: that of Zhu et al.'s code and, for inverting_gradients, LeNet.
All attacks on a victim are asked about the same targets. The table has means over victims of the
primary metric (SSIM), and seconds of processor time, which include the training of the victim for
attacks that take part in it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import mean
from typing import Any, final

import torch
from command_line import parser
from dlg_batch import zhu
from plain_attacks import RATE, PlainDecoder, PlainMatching, PlainUnSplit, PlainWhiteBox
from plain_trainings import PlainHijacker, PlainListener
from torch import nn
from torch.nn import functional

from sltoolkit import api
from sltoolkit.adversary.inverse_training import steps_for
from sltoolkit.attacks import (
    DLG,
    FORA,
    FSHA,
    IDLG,
    PCAT,
    SDAR,
    Decoder,
    InvertingGradients,
    UnSplit,
    WhiteBox,
)
from sltoolkit.attacks.listening.fora import POLISH_PASSES, POLISH_STEPS
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener
from sltoolkit.data import Split, load
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import Targets
from sltoolkit.metrics.registry import primary
from sltoolkit.models import build
from sltoolkit.parties.settings import Training
from sltoolkit.referee.mount import STANDARD_GRANTS
from sltoolkit.report.result import Result

GRANTS = STANDARD_GRANTS | {"client_weights", "client_arch"}

NOTHING = 0.05
"""A plain loop that scores less finds nothing, and no ratio is printed."""

SIDE = 16
"""Images are small, to save time; SSIM needs sides of at least 11 pixels."""

AUX = 600
"""Own samples of the attacker."""


LENET = partial(build, "lenet", shape=(1, SIDE, SIDE), classes=10, padding=2)


@final
@dataclass(frozen=True, kw_only=True)
class Setting:
    """Victims of one kind.

    Attributes:
        model: the network.
        cut: where it is cut.
        epochs: passes over 1,000 private samples, in batches of 32.
        count: targets.
        options: further arguments of `api.train`.
    """

    model: Any = LENET
    cut: str = "relu2"
    epochs: int = 4
    count: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class Match:
    """An attack, its plain loop (after the attack's result is known), and where they meet."""

    attack: AnyAttack
    plain: Callable[[Result], AnyAttack]
    setting: Setting


def smooth() -> nn.Sequential:
    """The network of Zhu et al.'s code, for images of `SIDE` pixels."""
    network = zhu()
    network[-1] = nn.Linear(12 * (SIDE // 2) ** 2, 10)
    for weight in network[-1].parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    return network


TRAINED = Setting()
TAKING_PART = Setting(epochs=8)
UPDATES: dict[str, Any] = {"protocol": "large_batch_sgd"}
SMOOTH = Setting(model=smooth, cut="conv1", epochs=0, count=8, options=UPDATES)
EARLY = Setting(cut="relu1", epochs=0, count=8, options=UPDATES)


def chosen(name: str, otherwise: int) -> Callable[[Result], int]:
    """A number of steps that the rehearsal chose."""
    return lambda result: int(result.outcome.tuned.get(name, otherwise))


def matches(*, small: bool) -> dict[str, Match]:
    """All matches by the name of the attack; the smallest show only that they run."""
    whitebox, steps = WhiteBox.smoke() if small else WhiteBox(), chosen("steps", 3)
    leak = {"steps": 1, "restarts": 1, "inner": 2} if small else {"steps": 40, "restarts": 4}
    budget = 2 if small else 40 * 20 * 4
    unsplit = UnSplit.smoke() if small else UnSplit()
    geiping = InvertingGradients(steps=3 if small else 1000)
    width, blocks = (4, 1) if small else (16, 2)
    sdar = SDAR.smoke() if small else SDAR(width=8, critic_width=4, image_critic_width=4)
    pcat = PCAT.smoke() if small else PCAT(width=8)
    fora = FORA.smoke() if small else FORA(width=width, blocks=blocks)
    fsha = FSHA.smoke() if small else FSHA(width=width, blocks=blocks)
    decoder = Decoder.smoke() if small else Decoder()
    polish = max(POLISH_STEPS, POLISH_PASSES * -(-AUX // 64))
    rates: Any = {"lr": RATE, "decoder_lr": RATE, "loss": "mse"}
    like = {
        "sdar": SDAR(width=sdar.width, critic_width=sdar.critic_width,
                     image_critic_width=sdar.image_critic_width, **rates),
        "pcat": PCAT(width=pcat.width, refine_steps=0, **rates),
        "fora": FORA(width=width, blocks=blocks, mmd_share=0.8, lr=RATE, critic_lr=RATE,
                     polish=1 if small else polish, loss="mse"),
        "fsha": FSHA(width=width, blocks=blocks, lr=RATE, critic_lr=RATE, decoder_loss="mse"),
    }  # fmt: skip

    def listens(name: str, attack: AnyAttack) -> Match:
        plain = PlainListener(like=like[name])
        return Match(attack=attack, plain=lambda _: plain, setting=TAKING_PART)

    return {
        "decoder": Match(
            attack=decoder, setting=TRAINED,
            plain=lambda _: PlainDecoder(steps=decoder.steps or steps_for(AUX, 64)),
        ),
        "sdar": listens("sdar", sdar),
        "pcat": listens("pcat", pcat),
        "fora": listens("fora", fora),
        "fsha": Match(
            attack=fsha, plain=lambda _: PlainHijacker(like=like["fsha"]), setting=TAKING_PART
        ),
        "whitebox": Match(
            attack=whitebox, plain=lambda r: PlainWhiteBox(steps=steps(r)), setting=TRAINED
        ),
        "unsplit": Match(
            attack=unsplit, setting=Setting(cut="relu1"),
            plain=lambda _: PlainUnSplit(rounds=unsplit.rounds, steps=unsplit.input_steps),
        ),
        "dlg": Match(
            attack=DLG(**leak), setting=SMOOTH,
            plain=lambda _: PlainMatching(steps=budget, guess_labels=True),
        ),
        "idlg": Match(
            attack=IDLG(**leak), setting=SMOOTH,
            plain=lambda _: PlainMatching(steps=budget, guess_labels=False),
        ),
        "inverting_gradients": Match(
            attack=geiping, setting=EARLY,
            plain=lambda _: PlainMatching(steps=geiping.steps, guess_labels=False),
        ),
    }  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """Both sides on one victim: the metric, seconds, and what a rehearsal chose."""

    metric: str
    ours: float
    plain: float
    seconds: tuple[float, float]
    chosen: Mapping[str, Any]


def met(match: Match, data: Split, seed: int, *, count: int | None = None) -> Line:
    """The line of a match on the victim of a seed."""
    train = partial(
        api.train, match.setting.model, data, cut=match.setting.cut, seed=seed, grants=GRANTS,
        training=Training(epochs=match.setting.epochs, batch_size=32, **_sgd(match.setting)),
        targets=Targets(count=count or match.setting.count), **match.setting.options,
    )  # fmt: skip

    def result(attack: AnyAttack) -> tuple[Result, float]:
        start = time.process_time()
        listeners = [attack] if isinstance(attack, Listener) else []
        active = attack if isinstance(attack, ActiveAttack) else None
        victim = train(listeners=listeners, active=active)
        if not listeners and active is None:
            start = time.process_time()
        found = api.attack(victim, attack, grants=GRANTS)
        return found, time.process_time() - start

    ours, spent = result(match.attack)
    plain, plain_spent = result(match.plain(ours))
    metric = primary("reconstruction", data.shape).name
    score = [float(r.verdict.scores[metric].mean()) for r in (ours, plain)]
    return Line(
        metric=metric, ours=score[0], plain=score[1], seconds=(spent, plain_spent),
        chosen=ours.outcome.tuned,
    )  # fmt: skip


def _sgd(setting: Setting) -> dict[str, Any]:
    """Clients that send updates learn by SGD, since DLG scales gradients."""
    return {"optimizer": "sgd", "lr": 0.1} if setting.options == UPDATES else {}


def compared(names: list[str], *, victims: int, small: bool) -> Iterator[tuple[str, list[Line]]]:
    """The lines of each attack."""
    data = resized(load("digits", train=60, holdout=24, aux=24)) if small else images()
    for name, match in matches(small=small).items():
        if not names or name in names:
            count = 2 if small else None
            yield name, [met(match, data, seed, count=count) for seed in range(victims)]


def images() -> Split:
    """MNIST if its files are there, else the embedded digits; resized."""
    if "SLTOOLKIT_DATA" in os.environ:
        return resized(load("mnist", train=1000, holdout=100, aux=AUX))
    return resized(load("digits", train=1000, holdout=100, aux=AUX))


def resized(data: Split) -> Split:
    """The split, with images of `SIDE` pixels."""

    def change(samples: Samples) -> Samples:
        x = functional.interpolate(samples.x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        return replace(samples, x=x)

    return replace(
        data, private_train=change(data.private_train), aux=change(data.aux),
        private_holdout=change(data.private_holdout),
    )  # fmt: skip


def row(name: str, lines: list[Line]) -> str:
    """A row of the table: means over victims."""
    ours, plain = mean(x.ours for x in lines), mean(x.plain for x in lines)
    spent, plain_spent = (mean(x.seconds[i] for x in lines) for i in (0, 1))
    picked = ", ".join(f"{k}={v}" for k, v in sorted(lines[0].chosen.items()))
    ratio = f"{ours / plain:.2f}" if plain > NOTHING else "-"
    return (
        f"| `{name}` | {lines[0].metric} | {ours:.3f} | {plain:.3f} | {ratio} | "
        f"{spent / plain_spent:.1f} | {picked} |"
    )


def main() -> None:
    """Print the table, row by row."""
    torch.set_num_threads(1)
    command = parser(__doc__)
    command.add_argument("attack", nargs="*")
    command.add_argument("--victims", type=int, default=1)
    given = command.parse_args()
    print("| attack | metric | attack | plain loop | ratio | seconds, ratio | chosen (victim 0) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, lines in compared(given.attack, victims=given.victims, small=given.small):
        print(row(name, lines), flush=True)


if __name__ == "__main__":
    main()
