"""An epoch of every protocol against the same steps in a plain PyTorch loop.

    python benchmarks/protocol_epochs.py [PROTOCOL ...] [--small]

The model is LeNet, with batches of 64 and one thread. Four clients (or two parties with blocks of
features) have forty batches in all, and the gradients of a tenth of the samples are recorded. Both
loops use torch's fused Adam, so the ratio compares only the loops. They run in this process in
turns, in short epochs, and processor time is measured, so that other processes don't matter. The
median of the ratios of neighboring epochs over several builds is reported, because the place of a
network in memory changes the ratio by a few percent.

If parties are separated by a cut, the plain loop's graph ends at the cut, too. For comparison, the
ratio to one graph through all parts is printed, which is impossible in split learning.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from command_line import parser
from plain import BATCH, PLAIN, SPLIT
from split_epoch import random_split

from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.transcript import Recording, Transcript

BAR = 1.10
BUILDS = 5
PAIRS = 8
BATCHES = 40
SHAPE = (1, 28, 28)
CUTS: dict[str, tuple[str, ...]] = {
    "u_shaped": ("relu2", "relu4"),
    "multi_hop": ("pool1", "relu2"),
    "extended_vanilla": ("relu1", "relu2"),
}
CLIENTS = {"vertical": 2, "extended_vanilla": 2, "multi_task": 2}


def seated(name: str, data: Split) -> Run:
    """A run of a protocol at its beginning, in the data's precision; all calls give equal runs."""
    protocol = PROTOCOLS[name](clients=CLIENTS.get(name, 4))
    with Stream(0).scope():
        whole = models.build("lenet", shape=data.shape, classes=10)
    whole = whole.to(data.private_train.x.dtype)
    recorded = data.private_train.ids[: len(data.private_train) // 10]
    recording = Recording(kinds=frozenset({"smashed_grad"}), ids=recorded)
    return seat_parties(
        models.cut(whole, CUTS.get(name, ("relu2",))), data, protocol=protocol,
        defense=NoDefense(), training=Training(batch_size=BATCH) if protocol.learns else None,
        rng=Stream(0), ears=[Transcript(recording)],
    )  # fmt: skip


def loops(name: str, *, batches: int = BATCHES) -> list[Callable[[], None]]:
    """An epoch by the toolkit, by the plain loop, and by a plain loop with a single graph."""
    data = random_split(batches * BATCH, SHAPE)
    ours, theirs, joined = (seated(name, data) for _ in range(3))
    whole = partial(PLAIN[name], apart=False) if name in SPLIT else PLAIN[name]
    return [
        lambda: ours.protocol.epoch(ours.cast, Clock(), "train"),
        lambda: PLAIN[name](theirs.cast),
        lambda: whole(joined.cast),
    ]


def seconds(action: Callable[[], None]) -> float:
    """The processor time of an action."""
    start = time.process_time()
    action()
    return time.process_time() - start


def ratios(name: str, *, small: bool = False) -> tuple[float, float]:
    """The toolkit's seconds per epoch over the plain loop's, and over the single graph's."""
    found = []
    for _ in range(1 if small else BUILDS):
        epochs = loops(name, batches=4 if small else BATCHES)  # one for each of four clients
        for epoch in epochs:
            epoch()
        found += [[seconds(epoch) for epoch in epochs] for _ in range(1 if small else PAIRS)]
    ours, plain, single = zip(*found, strict=True)
    return _middle(ours, plain), _middle(ours, single)


def _middle(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def main(names: Sequence[str], *, small: bool) -> None:
    """Print a line per protocol."""
    torch.set_num_threads(1)
    for name in names or PROTOCOLS:
        plain, single = ratios(name, small=small)
        print(f"{name:24} {plain:.3f}  (bar {BAR:.2f})   single graph {single:.3f}", flush=True)


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("protocol", nargs="*")
    given = command.parse_args()
    main(given.protocol, small=given.small)
