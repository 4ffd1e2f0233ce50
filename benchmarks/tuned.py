"""What rehearsing is worth: attacks tuned on their own samples against their papers' settings.

Run with `python benchmarks/tuned.py [ATTACK ...]`: five victims at two cuts of LeNet, on MNIST
where `SLTOOLKIT_DATA` names a folder that has it, on the embedded photographs otherwise; listeners
on the embedded digits. Some tens of minutes per attack on one thread.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch

from sltoolkit import api
from sltoolkit.attacks import PCAT, SDAR, Decoder, DeepImagePrior, WhiteBox
from sltoolkit.contracts import AnyAttack, Listener
from sltoolkit.data import Split, load
from sltoolkit.metrics import t_interval
from sltoolkit.models import build
from sltoolkit.referee import STANDARD_GRANTS
from sltoolkit.settings import Training
from sltoolkit.targets import Targets

CUTS = ("conv1", "relu2")
GRANTS = STANDARD_GRANTS | {"client_weights", "client_arch"}
SLACK = 1.02
"""How much worse the mean squared error may be and still count as good."""


def he_whitebox(tv_weight: float) -> WhiteBox:
    """He, Zhang and Lee's published code; its weights hold for pixels divided by 1/2."""
    return WhiteBox(
        steps=5000, lr=0.01, optimizer="amsgrad", schedule="constant", start="grey", box=False,
        tv_beta=2, tv_weight=tv_weight / 0.5**2, forward="client", window=0,
    )  # fmt: skip


PUBLISHED: dict[str, Mapping[str, AnyAttack]] = {
    "decoder": dict.fromkeys(CUTS, Decoder(epochs=50, lr=1e-3, design="mirror", blocks=1)),
    "deep_image_prior": dict.fromkeys(CUTS, DeepImagePrior(tv_weight=0.0, forward="client")),
    "pcat": dict.fromkeys(CUTS, PCAT()),
    "sdar": dict.fromkeys(CUTS, SDAR()),
    "whitebox": {"conv1": he_whitebox(0.0), "relu2": he_whitebox(1.0)},
}
"""Attack -> cut -> its paper's settings (for MNIST, where it has any)."""

TUNED: dict[str, AnyAttack] = {
    "decoder": Decoder(budget=8),
    "deep_image_prior": DeepImagePrior(),
    "pcat": PCAT(lr=None, decoder_lr=None, refine_steps=None),
    "sdar": SDAR(lr=None, decoder_lr=None, lambda1=None),
    "whitebox": WhiteBox(),
}
"""The same attacks with what they leave open."""


@final
@dataclass(frozen=True, kw_only=True)
class Pair:
    """One victim's mean squared error under both, and what was chosen."""

    cut: str
    seed: int
    published: float
    tuned: float
    chosen: Mapping[str, float | str]


def pairs(
    data: Split, model: Any, published: Mapping[str, AnyAttack], tuned: AnyAttack, *,
    seeds: Sequence[int] = range(5), targets: int = 32, training: Training | None = None,
) -> list[Pair]:  # fmt: skip
    """Attack victims of every seed at every cut of `published`, with both settings.

    Args:
        data: of the victims and of the attacker.
        model: the victims' network.
        published: the paper's settings by cut.
        tuned: the same attack with what it leaves open.
        seeds: of the victims.
        targets: held-out images per victim.
        training: of the victims; two epochs by default.
    """
    found = []
    for cut, fixed in published.items():
        for seed in seeds:
            victim = api.train(
                model, data, cut=cut, seed=seed, training=training or Training(epochs=2),
                targets=Targets(count=targets), grants=GRANTS,
                listeners=[a for a in (fixed, tuned) if isinstance(a, Listener)],
            )  # fmt: skip
            results = [api.attack(victim, a, grants=GRANTS) for a in (fixed, tuned)]
            errors = [float(r.verdict.scores["mse"].mean()) for r in results]
            found.append(
                Pair(
                    cut=cut, seed=seed, published=errors[0], tuned=errors[1],
                    chosen=results[1].outcome.tuned,
                )
            )  # fmt: skip
    return found


def summary(found: Sequence[Pair], cut: str) -> dict[str, float]:
    """Over a cut's victims: both mean errors, and the interval of the difference (t, 95 %)."""
    here = [p for p in found if p.cut == cut]
    saved = t_interval([p.published - p.tuned for p in here])
    return {
        "published": sum(p.published for p in here) / len(here),
        "tuned": sum(p.tuned for p in here) / len(here),
        "saved_low": saved.low,
        "saved_high": saved.high,
    }


def compared(name: str) -> list[Pair]:
    """An attack's pairs. Who listens needs hundreds of batches, so sees 8x8 digits."""
    if isinstance(TUNED[name], Listener):
        lenet, long = partial(build, "lenet", shape=(1, 8, 8), classes=10, padding=2), 20
        return pairs(
            load("digits"), lenet, PUBLISHED[name], TUNED[name], training=Training(epochs=long)
        )
    if "SLTOOLKIT_DATA" in os.environ:
        data = load("mnist", train=4000, holdout=200, aux=1000)
    else:
        data = load("photos")
    return pairs(data, "lenet", PUBLISHED[name], TUNED[name])


def main() -> None:
    """Print every pair and the summaries; the exit status says whether any tuned one is worse."""
    torch.set_num_threads(1)
    worse = False
    for name in sys.argv[1:] or sorted(TUNED):
        found = compared(name)
        for p in found:
            chosen = ", ".join(f"{k}={v}" for k, v in sorted(p.chosen.items()))
            print(
                f"{name} {p.cut} victim {p.seed}: MSE {p.published:.2e} as published, "
                f"{p.tuned:.2e} tuned ({chosen})",
                flush=True,
            )
        for cut in PUBLISHED[name]:
            s = summary(found, cut)
            worse |= s["tuned"] > SLACK * s["published"]
            print(
                f"{name} {cut}: {s['published']:.2e} as published, {s['tuned']:.2e} tuned; "
                f"saves [{s['saved_low']:.1e}, {s['saved_high']:.1e}]"
            )
    sys.exit(worse)


if __name__ == "__main__":
    main()
