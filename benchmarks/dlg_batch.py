"""DLG and iDLG on 16 targets at once against the same search one target at a time.

Run with `python benchmarks/dlg_batch.py [--small]`; one thread. The network is that of Zhu et al.'s
code (sigmoids and strides), untrained, on scikit-learn's digits; each target has its own update.
"""

import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from command_line import parser
from torch import nn

from sltoolkit import api
from sltoolkit.attacks import DLG, IDLG
from sltoolkit.data import load
from sltoolkit.data.targets import Targets
from sltoolkit.parties.settings import Training
from sltoolkit.report.result import Result

TARGETS = 16


def zhu() -> nn.Sequential:
    """Three convolutions with sigmoids and a linear layer, all weights from U(-1/2, 1/2)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, 12, 5, padding=2, stride=2), act1=nn.Sigmoid(),
        conv2=nn.Conv2d(12, 12, 5, padding=2), act2=nn.Sigmoid(),
        conv3=nn.Conv2d(12, 12, 5, padding=2), act3=nn.Sigmoid(), flatten=nn.Flatten(),
        head=nn.Linear(192, 10),
    )  # fmt: skip
    network = nn.Sequential(layers)
    for weight in network.parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    return network


def measure(attack: DLG | IDLG, *, targets: int = TARGETS) -> dict[str, float]:
    """Seconds at once, the ratio to one by one, and the share that each finds (MSE below 1e-3)."""
    victim = api.train(
        zhu, load("digits"), cut=1, protocol="large_batch_sgd",
        training=Training(epochs=0, optimizer="sgd", lr=0.1), targets=Targets(count=targets),
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (together, at_once), (alone, in_turn) = (
            _timed(victim, replace(attack, chunk=chunk)) for chunk in (64, 1)
        )
    finally:
        torch.set_num_threads(threads)
    return {
        "ratio": in_turn / at_once,
        "seconds": at_once,
        "found_together": _found(together),
        "found_alone": _found(alone),
    }


def _timed(victim: Any, attack: Any) -> tuple[Result, float]:
    start = time.process_time()
    return api.attack(victim, attack), time.process_time() - start


def _found(result: Result) -> float:
    return float((result.verdict.scores["mse"] < 1e-3).float().mean())


def main(*, small: bool) -> None:
    """Print the comparison for both attacks."""
    targets = 2 if small else TARGETS
    for kind in (DLG, IDLG):
        attack = kind.smoke() if small else kind()
        m = measure(attack, targets=targets)
        print(
            f"{type(attack).__name__}: {targets} targets at once {m['seconds']:.1f} s, "
            f"{m['ratio']:.1f}x as fast as one at a time; found {m['found_together']:.2f} and "
            f"{m['found_alone']:.2f} of them"
        )


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
