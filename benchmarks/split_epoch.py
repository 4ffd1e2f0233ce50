"""A split-learning epoch with recording on, against the same training in a plain PyTorch loop.

    python benchmarks/split_epoch.py [THREADS] [--small]

Both run in this process in turns, in short epochs, so that a noisy machine slows both alike; the
median of the ratios of neighboring epochs is reported. THREADS is torch's number of threads, by
default one, as in a worker of the bench.
"""

import statistics
import time
from collections.abc import Callable

import torch
from command_line import parser
from torch import nn
from torch.nn import functional

from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import seat_parties, with_format
from sltoolkit.wire.transcript import Recording, Transcript

BATCH = 64
BUILDS = 5
CASES = {  # model: (input shape, cut, batches per epoch, pairs of epochs per build, bar)
    "lenet": ((1, 28, 28), "relu2", 40, 15, 1.10),
    "resnet20": ((3, 32, 32), "layer1_2", 4, 8, 1.03),
}


def random_split(n: int, shape: tuple[int, ...]) -> Split:
    """Random samples, because only the speed matters here."""

    def part(size: int, first: int) -> Samples:
        g = torch.Generator().manual_seed(first)
        ids = torch.arange(first, first + size)
        y = torch.randint(10, (size,), generator=g)
        return Samples(x=torch.rand(size, *shape, generator=g), y=y, ids=ids, groups=ids)

    return Split(
        name="random", private_train=part(n, 0), private_holdout=part(2, n), aux=part(2, n + 2),
        classes=tuple("0123456789"),
    )  # fmt: skip


def plain_epoch(whole: nn.Module, data: Split, *, fused: bool) -> Callable[[], None]:
    """The plain loop, with torch's default Adam or its fused one, which the toolkit uses."""
    optimizer = torch.optim.Adam(whole.parameters(), lr=1e-3, fused=fused or None)
    x, y = data.private_train.x, data.private_train.y

    def epoch() -> None:
        whole.train()
        for index in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(whole(x[index]), y[index]).backward()
            optimizer.step()

    return epoch


def split_epoch(parts: tuple[nn.Module, ...], data: Split) -> Callable[[], None]:
    """Vanilla split learning, with the gradients of a tenth of the samples recorded."""
    recorded = data.private_train.ids[: len(data.private_train) // 10]
    recording = Recording(kinds=frozenset({"smashed_grad"}), ids=recorded)
    run = seat_parties(
        parts, data, protocol=Vanilla(), defense=NoDefense(), training=Training(batch_size=BATCH),
        rng=Stream(0), ears=[Transcript(recording)],
    )  # fmt: skip
    return lambda: run.protocol.epoch(run.cast, Clock(), "train")


def seconds(action: Callable[[], None]) -> float:
    """The wall time of an action."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def ratios(name: str, *, fused: bool, small: bool = False) -> list[float]:
    """Ratios of split to plain seconds for one build of a case, after a first epoch of each."""
    shape, cut, batches, pairs, _ = CASES[name]
    batches, pairs = (1, 1) if small else (batches, pairs)
    fast = models.MODELS[name].channels_last
    data = random_split(batches * BATCH, shape)
    with Stream(0).scope():
        whole = models.build(name, shape=shape, classes=10)
        other = models.build(name, shape=shape, classes=10)
    parts = models.cut(other, cut)
    placed = with_format((whole, *parts), data, Training(channels_last=fast))
    plain, split = plain_epoch(whole, placed, fused=fused), split_epoch(parts, placed)
    plain(), split()
    return [seconds(split) / seconds(plain) for _ in range(pairs)]


def measure(*, small: bool = False) -> dict[str, float]:
    """For each model, the ratio of split to plain seconds, and the bar that it must stay below.

    The toolkit uses torch's fused optimizers, so the ratio to a plain loop with them is shown, too.
    There are several builds, because the place of a network in memory changes the ratio by a few
    percent.
    """
    found: dict[str, float] = {}
    for name, (*_, bar) in CASES.items():
        for key, fused in (("ratio", False), ("ratio_to_fused", True)):
            builds = range(1 if small else BUILDS)
            every = [r for _ in builds for r in ratios(name, fused=fused, small=small)]
            found[f"{name}_{key}"] = statistics.median(every)
        found[f"{name}_bar"] = bar
    return found


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("threads", nargs="?", type=int, default=1)
    given = command.parse_args()
    torch.set_num_threads(given.threads)
    for key, value in measure(small=given.small).items():
        print(f"{key:24} {value:.3f}")
