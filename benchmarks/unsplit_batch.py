"""UnSplit on 64 MNIST-sized targets at once against a plain loop, one target at a time.

Run with `python benchmarks/unsplit_batch.py [--small]`; it uses one thread, as a worker does. The
client is LeNet's first convolution, then everything up to its first pooling, then everything up to
its second ReLU (UnSplit's MNIST network is the same LeNet). The loop is the published one, written
with torch's own layers and optimizers, without unused gradients. Both start from the same clones.
The targets are scikit-learn's digits at MNIST's size, so no file is needed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from command_line import parser
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.total_variation import total_variation
from sltoolkit.attacks.inversion.unsplit import UnSplit, UnSplitView
from sltoolkit.contracts.defense import Task
from sltoolkit.data import pool
from sltoolkit.models import build, cut
from sltoolkit.streams import Stream

BAR = 10.0
TARGETS = 64
ATTACK = UnSplit(rounds=4, tv_weight=0.1, l2_weight=1.0, window=0)
REPEATS = 3


def measure(
    at: str = "conv1", *, attack: UnSplit = ATTACK, targets: int = TARGETS, repeats: int = REPEATS
) -> dict[str, float]:
    """Time both on the same targets; the best of several alternating runs counts.

    The loop is timed on an eighth of the targets, and attacks all of them once to compare quality.

    Args:
        at: the block of LeNet after which the client ends.
        attack: the attack with its settings.
        targets: how many targets.
        repeats: how many runs of each.

    Returns:
        `ratio` (targets per second at once / one at a time), `bar`, milliseconds per step of all
        targets and of one, and the relative difference of the mean MSE.
    """
    small = pool("digits").samples.x[:targets]
    x = functional.interpolate(small, size=(28, 28), mode="bilinear")
    with torch.no_grad():
        z = client_of(Stream(0), at)(x)

    def at_once() -> Tensor:
        view = UnSplitView(
            smashed=z[None],
            client_arch=lambda stream: client_of(stream, at),
            task=Task(input_shape=(1, 28, 28), smashed_shape=tuple(z.shape[1:]), classes=10),
        )
        return attack.run(view, rng=Stream(1)).images

    def in_turn(count: int) -> Tensor:
        clones = [client_of(Stream(1).child(f"clone{i}"), at) for i in range(count)]
        return torch.cat([alone(attack, c, one[None]) for c, one in zip(clones, z, strict=False)])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        together, apart = (float((g - x).square().mean()) for g in (at_once(), in_turn(targets)))
        # alternating, so that a busy moment of the machine slows both
        part = max(1, targets // 8)
        pairs = [(_seconds(at_once), _seconds(lambda: in_turn(part))) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    batch, loop = (min(times) for times in zip(*pairs, strict=True))
    steps = attack.rounds * (attack.input_steps + attack.client_steps)
    return {
        "ratio": loop / part * targets / batch,
        "bar": BAR,
        "batch_step_ms": batch / steps * 1e3,
        "single_step_ms": loop / part / steps * 1e3,
        "mean_mse_difference": abs(together / apart - 1),
    }


def client_of(rng: Stream, at: str) -> nn.Module:
    """A fresh client: LeNet up to a block."""
    with rng.scope():
        return cut(build("lenet", shape=(1, 28, 28), classes=10), at)[0].eval()


def alone(attack: UnSplit, clone: nn.Module, z: Tensor) -> Tensor:
    """The input that the published loop recovers from one target's smashed data (1, ...)."""
    x = z.new_full((1, 1, 28, 28), 0.5).requires_grad_(True)
    weights = list(clone.parameters())
    on_input = torch.optim.Adam([x], lr=attack.lr, amsgrad=True)
    on_client = torch.optim.Adam(weights, lr=attack.lr, amsgrad=True)
    for _ in range(attack.rounds):
        clone.requires_grad_(False)
        for _ in range(attack.input_steps):
            on_input.zero_grad()
            loss = functional.mse_loss(clone(x), z)
            loss = loss + attack.tv_weight * total_variation(x, beta=attack.tv_beta).mean()
            loss = loss + attack.l2_weight * x.square().mean()
            loss.backward()
            on_input.step()
        clone.requires_grad_(True)
        fixed = x.detach()
        for _ in range(attack.client_steps):
            on_client.zero_grad()
            functional.mse_loss(clone(fixed), z).backward()
            on_client.step()
    return x.detach()


def _seconds(call: Callable[[], Tensor]) -> float:
    # processor time, since other processes affect it less than wall time
    start = time.process_time()
    call()
    return time.process_time() - start


def main(places: Sequence[str] = ("conv1", "pool1", "relu2"), *, small: bool) -> None:
    """Print the comparison for each client."""
    targets, repeats = (2, 1) if small else (TARGETS, REPEATS)
    attack = replace(UnSplit.smoke(), window=0) if small else ATTACK
    for at in places:
        m = measure(at, attack=attack, targets=targets, repeats=repeats)
        print(
            f"up to {at}: {targets} targets at once {m['batch_step_ms']:.1f} ms a step, one "
            f"{m['single_step_ms']:.2f} ms: {m['ratio']:.1f}x the targets per second (bar "
            f"{m['bar']:.0f}x), mean MSE within {m['mean_mse_difference']:.1e}"
        )


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
