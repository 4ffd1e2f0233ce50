"""The white box against a loop in the style of He, Zhang and Lee's public code (2019).

Run with `python benchmarks/he_style.py [--small]`. The loop recovers one image at a time with two
threads (if there are two cores). Like the public code, it back-propagates into the victim's weights
and through the heard features, too, so it retains the graph. It takes 5,000 steps of AMSGrad with
epsilon 1e-3 and a constant rate of 0.01, from zero, on pixels normalized to [-1, 1], and has the
public code's total variation. The white box has the same objective, one thread, all targets at once
and its own descent. The targets are scikit-learn's digits at MNIST's size, and the client is the
beginning of an untrained LeNet, so no file is needed.
"""

import time
from typing import Any

import torch
from command_line import parser
from torch import Tensor, nn
from torch.nn import functional
from whitebox_batch import recover

from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.data import pool
from sltoolkit.models import build, cut
from sltoolkit.streams import Stream

BAR = 20.0
TARGETS = 64
ALONE = 2
STEPS = 5000
TV_WEIGHT = 0.01
"""Their weight is 1, for a trained client; with this client's weaker outputs, that leaves gray."""

DEVIATION = 0.5
"""The public code subtracts 1/2 from MNIST's pixels and divides them by this number."""


def he_loop(client: nn.Module, x: Tensor, *, steps: int = STEPS) -> Tensor:
    """One target (1, C, H, W) in [0, 1], recovered as the public code does."""

    def seen(pixels: Tensor) -> Tensor:
        """Smashed data of normalized pixels."""
        z: Tensor = client(pixels * DEVIATION + 0.5)
        return z

    heard = seen((x - 0.5) / DEVIATION)
    guess = torch.zeros_like(x, requires_grad=True)
    adam = torch.optim.Adam([guess], lr=1e-2, eps=1e-3, amsgrad=True)
    for _ in range(steps):
        adam.zero_grad()
        feature = ((seen(guess) - heard) ** 2).mean()
        below, right = guess.diff(dim=2), guess.diff(dim=3)
        rough = below.pow(2).sum() / below.numel() + right.pow(2).sum() / right.numel()
        loss = feature + TV_WEIGHT * rough
        loss.backward(retain_graph=True)
        adam.step()
    return guess.detach() * DEVIATION + 0.5


def measure(
    at: str = "relu2", *, targets: int = TARGETS, alone: int = ALONE, steps: int = STEPS
) -> dict[str, float]:
    """Measure the targets per second and the quality of both.

    Args:
        at: the block of LeNet after which the client ends.
        targets: how many targets the white box recovers at once.
        alone: how many of these, from the first on, the loop recovers one by one.
        steps: steps of the loop.

    Returns:
        `ratio` (targets per second) and its `bar`; `step_ratio`, the same per step; milliseconds
        per step of one target (`loop_step_ms`, `batch_step_ms`); the mean MSE of the same first
        targets (`loop_mse`, `batch_mse`); and the white box's mean `steps`.
    """
    with Stream(0).scope():
        client = cut(build("lenet", shape=(1, 28, 28), classes=10), at)[0].eval()
    x = functional.interpolate(pool("digits").samples.x[:targets], size=(28, 28), mode="bilinear")
    attack = WhiteBox(tv_weight=TV_WEIGHT / DEVIATION**2, tv_beta=2, steps=min(300, steps), lr=0.2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        start = time.perf_counter()
        together = recover(attack, client, x)
        at_once = (time.perf_counter() - start) / targets
        torch.set_num_threads(min(2, threads))  # two on one core only wait for each other
        start = time.perf_counter()
        loop = torch.cat([he_loop(client, one[None], steps=steps) for one in x[:alone]])
        in_turn = (time.perf_counter() - start) / alone
    finally:
        torch.set_num_threads(threads)
    own = together.diagnostics["steps"]
    return {
        "ratio": in_turn / at_once,
        "bar": BAR,
        "step_ratio": (in_turn / steps) / (at_once / own),
        "loop_step_ms": in_turn / steps * 1e3,
        "batch_step_ms": at_once / own * 1e3,
        "loop_mse": _mse(loop, x[:alone]),
        "batch_mse": _mse(together.images[:alone], x[:alone]),
        "steps": own,
    }


def _mse(guess: Tensor, truth: Tensor) -> float:
    return float((guess.clamp(0, 1) - truth).square().mean())


def main(*, small: bool) -> None:
    """Print the comparison."""
    targets, alone, steps = (4, 1, 3) if small else (TARGETS, ALONE, STEPS)
    m: dict[str, Any] = measure(targets=targets, alone=alone, steps=steps)
    print(
        f"{targets} targets at once, {m['steps']:.0f} steps of {m['batch_step_ms']:.3f} ms per "
        f"target, against {steps} of {m['loop_step_ms']:.3f} ms in He et al.'s style: "
        f"{m['ratio']:.0f}x the targets per second (bar {m['bar']:.0f}x), {m['step_ratio']:.1f}x "
        f"per step; MSE {m['batch_mse']:.5f} against {m['loop_mse']:.5f}"
    )


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
