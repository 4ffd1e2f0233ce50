"""The white box on 64 MNIST-sized targets at once against the same loop one target at a time.

Run with `python benchmarks/whitebox_batch.py [--small]`; it uses one thread, as a worker does. The
client is LeNet's first convolution (the setting of He et al. 2019) and, for comparison, everything
up to its second ReLU. The targets are scikit-learn's digits at MNIST's size, so no file is needed.
"""

import time
from collections.abc import Callable

import torch
from command_line import parser
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data import pool
from sltoolkit.models import build, cut
from sltoolkit.streams import Stream

BAR = 6.0
TARGETS = 64
STEPS = 300
REPEATS = 2


def measure(
    at: str = "conv1", *, targets: int = TARGETS, steps: int = STEPS, repeats: int = REPEATS
) -> dict[str, float]:
    """Time both on the same targets; the best of several alternating runs counts.

    Args:
        at: the block of LeNet after which the client ends.
        targets: how many targets.
        steps: steps of the descent.
        repeats: how many runs of each.

    Returns:
        `ratio` (targets per second at once / one at a time), `bar`, milliseconds per step of all
        targets and of one, the largest relative difference of a target's MSE, and that of the
        means.
    """
    with Stream(0).scope():
        client = cut(build("lenet", shape=(1, 28, 28), classes=10), at)[0].eval()
    small = pool("digits").samples.x[:targets]
    x = functional.interpolate(small, size=(28, 28), mode="bilinear")
    # both sides take all steps, because no target stops early
    attack = WhiteBox(tv_weight=1e-2, steps=steps, window=0)

    def together() -> Tensor:
        return recover(attack, client, x).images

    def alone() -> Tensor:
        return torch.cat([recover(attack, client, one[None]).images for one in x])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batched, looped = ((g - x).square().mean((1, 2, 3)) for g in (together(), alone()))
        # alternating, so that a busy moment of the machine slows both
        pairs = [(_seconds(together), _seconds(alone)) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    at_once, in_turn = (min(times) for times in zip(*pairs, strict=True))
    return {
        "ratio": in_turn / at_once,
        "bar": BAR,
        "batch_step_ms": at_once / steps * 1e3,
        "single_step_ms": in_turn / steps / targets * 1e3,
        "max_relative_mse_difference": float((batched / looped - 1).abs().max()),
        "mean_relative_mse_difference": float(abs(batched.mean() / looped.mean() - 1)),
    }


def recover(attack: WhiteBox, client: nn.Module, x: Tensor) -> Reconstruction:
    """What an attacker that knows only the client recovers of inputs `x` (N, ...)."""
    with torch.no_grad():
        z = client(x)
    view = WhiteBoxView(
        smashed=z[None],
        client_weights=client,
        task=Task(input_shape=tuple(x.shape[1:]), smashed_shape=tuple(z.shape[1:]), classes=10),
        aux=None,
        release=None,
        mechanism=None,
    )
    return attack.run(view, rng=Stream(0))


def _seconds(call: Callable[[], Tensor]) -> float:
    # processor time, since other processes affect it less than wall time
    start = time.process_time()
    call()
    return time.process_time() - start


def main(*, small: bool) -> None:
    """Print the comparison for both clients."""
    targets, steps, repeats = (2, 3, 1) if small else (TARGETS, STEPS, REPEATS)
    for at in ("conv1", "relu2"):
        m = measure(at, targets=targets, steps=steps, repeats=repeats)
        print(
            f"up to {at}: {targets} targets at once {m['batch_step_ms']:.1f} ms a step, one "
            f"{m['single_step_ms']:.2f} ms: {m['ratio']:.1f}x the targets per second (bar "
            f"{m['bar']:.0f}x), MSE within {m['max_relative_mse_difference']:.1e}, in the mean "
            f"{m['mean_relative_mse_difference']:.1e}"
        )


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
