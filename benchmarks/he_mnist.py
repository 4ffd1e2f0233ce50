"""He, Zhang and Lee 2019 on MNIST: what the first convolution and the second ReLU leak.

Run with `SLTOOLKIT_DATA=... python benchmarks/he_mnist.py [--small]`; some minutes on one thread.
It prints means and t intervals over five victims with different seeds; the white box rehearses on a
sixth.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from command_line import parser

from sltoolkit import api
from sltoolkit.attacks import Decoder, WhiteBox
from sltoolkit.contracts.attack import Attack
from sltoolkit.data import Split, load
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import t_interval
from sltoolkit.parties.settings import Training

BARS = {"whitebox_conv1_psnr_db": 35.0, "whitebox_conv1_ssim": 0.99, "decoder_relu2_ssim": 0.75}
PUBLISHED = {
    "whitebox_conv1_psnr_db": 39.69,
    "whitebox_conv1_ssim": 0.9969,
    "decoder_relu2_psnr_db": 20.81,
    "decoder_relu2_ssim": 0.8046,
    "whitebox_relu2_psnr_db": 15.10,
    "whitebox_relu2_ssim": 0.5998,
}
"""Values from tables 3 and 4 of the paper; the decoder has data of the same distribution."""

TRAINING = Training(epochs=2, channels_last=True)
"""Enough for victims of over 90 % accuracy."""

PILOT = 100
"""Seed of the victim that the white box rehearses on; it is not among the reported seeds."""


def scores(
    data: Split, cut: str, attack: Attack[Any], seeds: Sequence[int], *, targets: int = 64
) -> list[dict[str, float]]:
    """Per victim seed: the attack's mean PSNR and SSIM over held-out targets, and the utility."""
    rows = []
    for seed in seeds:
        victim = api.train(
            "lenet", data, cut=cut, seed=seed, training=TRAINING,
            targets=Targets(count=targets),
        )  # fmt: skip
        result = api.attack(victim, attack)
        means = {name: float(v.mean()) for name, v in result.verdict.scores.items()}
        rows.append(
            {"psnr_db": means["psnr_db"], "ssim": means["ssim"], "accuracy": victim.utility}
        )
    return rows


def tuned_whitebox(data: Split, cut: str, attack: WhiteBox, *, targets: int = 64) -> WhiteBox:
    """The white box with the parameters that it chose by rehearsal on the pilot victim."""
    victim = api.train(
        "lenet", data, cut=cut, seed=PILOT, training=TRAINING, targets=Targets(count=targets)
    )
    chosen: Mapping[str, Any] = api.attack(victim, attack).outcome.tuned
    return replace(attack, **chosen)


def measure(
    seeds: Sequence[int] = range(5), *, root: Path | str | None = None, small: bool = False
) -> dict[str, float]:
    """Means, interval ends (`_low`, `_high`) and bars (`_bar`) of every setting.

    Args:
        seeds: the victims' seeds.
        root: the folder of the data files.
        small: whether to use little data, few targets and short attacks.
    """
    sizes, targets = ((200, 20, 40), 4) if small else ((8_000, 1_000, 2_000), 64)
    train, holdout, aux = sizes
    data = load("mnist", train=train, holdout=holdout, aux=aux, root=root)
    whitebox = WhiteBox.smoke() if small else WhiteBox()
    settings: dict[str, tuple[str, Attack[Any]]] = {
        "whitebox_conv1": ("conv1", tuned_whitebox(data, "conv1", whitebox, targets=targets)),
        "whitebox_relu2": ("relu2", tuned_whitebox(data, "relu2", whitebox, targets=targets)),
        "decoder_relu2": ("relu2", Decoder.smoke() if small else Decoder()),
    }
    measured: dict[str, float] = {}
    for name, (cut, attack) in settings.items():
        if isinstance(attack, WhiteBox):
            measured[f"{name}_tv_weight"] = attack.tv_weight or 0.0
        rows = scores(data, cut, attack, seeds, targets=targets)
        for metric in rows[0]:
            interval = t_interval([row[metric] for row in rows])
            key = f"{name}_{metric}"
            measured[key], measured[f"{key}_low"] = interval.value, interval.low
            measured[f"{key}_high"] = interval.high
    return measured | {f"{key}_bar": bar for key, bar in BARS.items()}


def main(*, small: bool) -> None:
    """Print every measured value with its interval, its bar and the paper's value."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    measured = measure(range(2) if small else range(5), small=small)
    for key, value in measured.items():
        if key.endswith(("_low", "_high", "_bar")):
            continue
        line = f"{key:28} {value:9.4f}"
        if f"{key}_low" in measured:
            line += f"  [{measured[f'{key}_low']:.4f}, {measured[f'{key}_high']:.4f}]"
        line += f"  bar {BARS[key]}" if key in BARS else ""
        line += f"  paper {PUBLISHED[key]}" if key in PUBLISHED else ""
        print(line)
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(not small and any(measured[key] < bar for key, bar in BARS.items()))


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
