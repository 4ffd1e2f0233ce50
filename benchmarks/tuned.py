"""What rehearsal is worth: attacks that choose their settings, against their papers' settings.

Run with `python benchmarks/tuned.py [ATTACK ...] [--small]`. Each attack meets five victims at two
cuts of LeNet, on MNIST if `SLTOOLKIT_DATA` names a folder that has it, else on the embedded
photographs. Listeners, hijackers and attacks on updates use the embedded digits; since updates have
no cut, attacks on them are compared in two protocols instead. An attack takes some tens of minutes
on one thread.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from command_line import parser

from sltoolkit import api
from sltoolkit.attacks import (
    FORA,
    FSHA,
    PCAT,
    SDAR,
    Decoder,
    DeepImagePrior,
    InvertingGradients,
    Shadow,
    WhiteBox,
)
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener
from sltoolkit.data import Split, load
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import t_interval
from sltoolkit.models import build
from sltoolkit.parties.settings import Training
from sltoolkit.referee.mount import STANDARD_GRANTS
from sltoolkit.training.victim import Victim

CUTS = ("conv1", "relu2")
PROTOCOLS = ("large_batch_sgd", "fedavg")
GRANTS = STANDARD_GRANTS | {"client_weights", "client_arch"}
SLACK = 1.02
"""How much worse the mean squared error may be and still count as good."""


def he_whitebox(tv_weight: float) -> WhiteBox:
    """He, Zhang and Lee's published code; its weights hold for pixels divided by 1/2."""
    return WhiteBox(
        steps=5000, lr=0.01, optimizer="amsgrad", schedule="constant", start="gray", box=False,
        tv_beta=2, tv_weight=tv_weight / 0.5**2, forward="client", window=0,
    )  # fmt: skip


HE_SHADOW = Shadow(
    inversion=WhiteBox(steps=500, lr=0.05, tv_weight=8.0, tv_beta=2, forward="client")
)
"""The shadow with He et al.'s inversion: 500 steps of 0.1, weight 2, pixels divided by 1/2."""

UNTRAINED = DeepImagePrior(steps=400)
"""A fifth of the default steps, for both settings."""

ALIGNING = replace(FORA.paper(), width=16, blocks=2)
"""Narrow networks, for both settings."""

HIJACKING = replace(FSHA.paper(), width=16, blocks=1)
"""Narrow networks, for both settings."""

DESCENT = InvertingGradients(steps=1200)
"""A quarter of the published code's steps, with its schedule, for both settings."""


PUBLISHED: dict[str, Mapping[str, AnyAttack]] = {
    "decoder": dict.fromkeys(CUTS, Decoder(lr=1e-3, design="mirror", blocks=1, loss="mse")),
    "deep_image_prior": dict.fromkeys(CUTS, replace(UNTRAINED, tv_weight=0.0, forward="client")),
    "fora": dict.fromkeys(CUTS, ALIGNING),
    "fsha": dict.fromkeys(CUTS, HIJACKING),
    "inverting_gradients": dict.fromkeys(PROTOCOLS, replace(DESCENT, tv_weight=0.1)),
    "pcat": dict.fromkeys(CUTS, PCAT.paper()),
    "sdar": dict.fromkeys(CUTS, SDAR.paper()),
    "shadow": dict.fromkeys(CUTS, HE_SHADOW),
    "whitebox": {"conv1": he_whitebox(0.0), "relu2": he_whitebox(1.0)},
}
"""Attack -> place (a cut or a protocol) -> its paper's settings, if possible those for MNIST."""

TUNED: dict[str, AnyAttack] = {
    "decoder": Decoder(budget=8),
    "deep_image_prior": UNTRAINED,
    "fora": FORA(width=16, blocks=2),
    "fsha": FSHA(width=16, blocks=1),
    "inverting_gradients": DESCENT,
    "pcat": PCAT(),
    "sdar": SDAR(lambda1=None),
    "shadow": Shadow(),
    "whitebox": WhiteBox(),
}
"""The same attacks with open parameters."""


@final
@dataclass(frozen=True, kw_only=True)
class Pair:
    """The mean squared errors of both settings and of the prior on one victim, and the choice."""

    place: str
    seed: int
    published: float
    tuned: float
    prior: float
    chosen: Mapping[str, float | str]


Train = Callable[[str, int, Sequence[AnyAttack]], Victim]
"""Trains a victim, given its place, its seed and the attacks; some take part in the training."""


def at_cuts(
    data: Split, model: Any, *, targets: int = 32, training: Training | None = None
) -> Train:
    """Victims whose place is a cut.

    Args:
        data: the data of the victims and of the attacker.
        model: the victims' network.
        targets: held-out images per victim.
        training: the victims' training; by default two epochs.
    """

    def train(place: str, seed: int, attacks: Sequence[AnyAttack]) -> Victim:
        return api.train(
            model, data, cut=place, seed=seed, training=training or Training(epochs=2),
            targets=Targets(count=targets), grants=GRANTS, **_taking_part(attacks),
        )  # fmt: skip

    return train


def in_protocols(data: Split, model: Any) -> Train:
    """Victims whose place is a protocol: two epochs, and 16 targets with an update each."""

    def train(place: str, seed: int, attacks: Sequence[AnyAttack]) -> Victim:
        return api.train(
            model, data, cut=CUTS[0], protocol=place, seed=seed, training=Training(epochs=2),
            targets=Targets(count=16), grants=GRANTS, **_taking_part(attacks),
        )  # fmt: skip

    return train


def _taking_part(attacks: Sequence[AnyAttack]) -> dict[str, Any]:
    """The attacks that take part in the training, as `api.train` takes them."""
    return {
        "listeners": [a for a in attacks if isinstance(a, Listener)],
        "active": next((a for a in attacks if isinstance(a, ActiveAttack)), None),
    }


def pairs(
    train: Train, published: Mapping[str, AnyAttack], tuned: AnyAttack, *,
    seeds: Sequence[int] = range(5),
) -> Iterator[Pair]:  # fmt: skip
    """Attack victims of every seed at every place of `published`, with both settings.

    Args:
        train: trains a victim.
        published: the paper's settings by place.
        tuned: the same attack with open parameters.
        seeds: the victims' seeds.
    """
    for place, fixed in published.items():
        apart = isinstance(tuned, ActiveAttack)  # two hijackers can't share a training
        runs = [[fixed], [tuned]] if apart else [[fixed, tuned]]
        for seed in seeds:
            results = []
            for attacks in runs:
                victim = train(place, seed, attacks)
                results += [api.attack(victim, a, grants=GRANTS) for a in attacks]
            errors = [float(r.verdict.scores["mse"].mean()) for r in results]
            yield Pair(
                place=place, seed=seed, published=errors[0], tuned=errors[1],
                prior=min(results[1].verdict.baselines["mse"].values()),
                chosen=results[1].outcome.tuned,
            )  # fmt: skip


def summary(found: Sequence[Pair], place: str) -> dict[str, float]:
    """Mean errors over a place's victims, and the 95 % t interval of the difference."""
    here = [p for p in found if p.place == place]
    saved = t_interval([p.published - p.tuned for p in here])
    return {
        "published": sum(p.published for p in here) / len(here),
        "tuned": sum(p.tuned for p in here) / len(here),
        "prior": sum(p.prior for p in here) / len(here),
        "saved_low": saved.low,
        "saved_high": saved.high,
    }


def compared(name: str) -> Iterator[Pair]:
    """The pairs of an attack; one on a training needs hundreds of batches, hence 8x8 digits."""
    published, tuned = PUBLISHED[name], TUNED[name]
    small = partial(build, "lenet", shape=(1, 8, 8), classes=10, padding=2)
    if set(published) == set(PROTOCOLS):
        return pairs(in_protocols(load("digits"), small), published, tuned)
    if isinstance(tuned, Listener | ActiveAttack):
        train = at_cuts(load("digits"), small, training=Training(epochs=20))
        return pairs(train, published, tuned)
    if "SLTOOLKIT_DATA" in os.environ:
        data = load("mnist", train=4000, holdout=200, aux=1000)
    else:
        data = load("photos")
    return pairs(at_cuts(data, "lenet"), published, tuned)


def smallest(name: str) -> Iterator[Pair]:
    """Two pairs at one place with the smallest settings, to see that the benchmark runs."""
    attack = type(TUNED[name]).smoke()
    place = next(iter(PUBLISHED[name]))
    small = partial(build, "lenet", shape=(1, 8, 8), classes=10, padding=2)
    data = load("digits", train=100, holdout=40, aux=60)
    make = at_cuts(data, small) if place in CUTS else in_protocols(data, small)
    return pairs(make, {place: attack}, attack, seeds=range(2))


def main() -> None:
    """Print all pairs and summaries; the exit status is 1 if a tuned attack is worse somewhere."""
    torch.set_num_threads(1)
    worse = False
    command = parser(__doc__)
    command.add_argument("attack", nargs="*")
    given = command.parse_args()
    for name in given.attack or sorted(TUNED):
        found = []
        for p in smallest(name) if given.small else compared(name):
            found.append(p)
            chosen = ", ".join(f"{k}={v}" for k, v in sorted(p.chosen.items()))
            print(
                f"{name} {p.place} victim {p.seed}: MSE {p.published:.2e} as published, "
                f"{p.tuned:.2e} tuned ({chosen})",
                flush=True,
            )
        for place in dict.fromkeys(p.place for p in found):
            s = summary(found, place)
            worse |= s["tuned"] > SLACK * s["published"]
            print(
                f"{name} {place}: {s['published']:.2e} as published, {s['tuned']:.2e} tuned; "
                f"saves [{s['saved_low']:.1e}, {s['saved_high']:.1e}]; prior alone {s['prior']:.2e}"
            )
    sys.exit(worse and not given.small)


if __name__ == "__main__":
    main()
