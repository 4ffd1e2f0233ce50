"""A hundred clients of SplitFed V1, computed together or one by one; and the memory of clients.

    python benchmarks/together.py [--small]

LeNet is cut at its second ReLU; each client has 64 samples; one thread runs, and processor time is
measured. Both ways use the toolkit's own loop, so the messages are the same. The largest difference
of a deployed weight is printed, after the same epochs in single and in double precision. (Adam
divides by the gradient's size, so if a gradient is nearly zero, rounding becomes a step.)
"""

import gc
import statistics
from dataclasses import replace
from unittest import mock

import torch
from command_line import parser
from protocol_epochs import seconds
from split_epoch import random_split
from torch import Tensor

from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import SplitFedV1
from sltoolkit.protocols import _vmapped as together
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import Run, seat_parties

SHAPE = (1, 28, 28)
CLIENTS, SHARD = 100, 64
BATCHES = (8, 16, 32)  # larger ones run one by one
PAIRS = 5
CROWD = 1000


def seated(
    protocol: SplitFedV1, training: Training, *, shard: int = SHARD,
    dtype: torch.dtype = torch.float32,
) -> Run:  # fmt: skip
    """A run at its beginning; every call gives an equal run."""
    data = random_split(protocol.clients * shard, SHAPE)
    train = replace(data.private_train, x=data.private_train.x.to(dtype))
    with Stream(0).scope():
        whole = models.build("lenet", shape=SHAPE, classes=10).to(dtype)
    return seat_parties(
        models.cut(whole, "relu2"), replace(data, private_train=train), protocol=protocol,
        defense=NoDefense(), training=training, rng=Stream(0),
    )  # fmt: skip


def epoch(run: Run) -> None:
    """Run a round, with clients computed together where the toolkit does so."""
    run.protocol.epoch(run.cast, Clock(), "train")


def epoch_one_by_one(run: Run) -> None:
    """Run a round, client by client."""
    with mock.patch.object(together, "ROWS", 1):
        epoch(run)


def ratio(batch: int, *, clients: int = CLIENTS, pairs: int = PAIRS) -> float:
    """The seconds of a round one by one, over those of a round together."""
    training = Training(batch_size=batch)
    ours, theirs = (seated(SplitFedV1(clients=clients), training) for _ in range(2))
    epoch(ours)
    epoch_one_by_one(theirs)
    found = [
        seconds(lambda: epoch_one_by_one(theirs)) / seconds(lambda: epoch(ours))
        for _ in range(pairs)
    ]
    return statistics.median(found)


def difference(optimizer: str, dtype: torch.dtype, *, clients: int = 10) -> float:
    """The largest difference of a deployed weight between the two ways, after two rounds."""
    training = Training(
        batch_size=16, optimizer=optimizer, lr={"adam": 1e-3, "sgd": 0.1}[optimizer]
    )
    ours, theirs = (
        seated(SplitFedV1(clients=clients), training, shard=SHARD, dtype=dtype) for _ in range(2)
    )
    for _ in range(2):
        epoch(ours)
        epoch_one_by_one(theirs)
    pairs = zip(_weights(ours), _weights(theirs), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def _weights(run: Run) -> list[Tensor]:
    (member,), server = run.protocol.deploy(run.cast, run.data.private_train)
    return [w.detach() for net in (member.client, server) for w in net.parameters()]


def held(clients: int, active: int, *, rounds: int = 3) -> int:
    """Bytes of all tensors of a run after some rounds, without the samples.

    Args:
        clients: how many clients there are.
        active: how many of them take part in a round.
        rounds: how many rounds.
    """
    protocol = SplitFedV1(clients=clients, participation=active / clients)
    before = _storages()
    run = seated(protocol, Training(batch_size=8), shard=1)
    for _ in range(rounds):
        epoch(run)
    everybody = [run.data.private_train, *(m.samples for m in run.cast.clients)]
    samples = _bytes_of({t for own in everybody for t in vars(own).values()})
    return sum(n for at, n in _storages().items() if at not in before and at not in samples)


def _storages() -> dict[int, int]:
    gc.collect()
    return _bytes_of({o for o in gc.get_objects() if issubclass(type(o), Tensor)})


def _bytes_of(tensors: set[Tensor]) -> dict[int, int]:
    stored = (t.untyped_storage() for t in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in stored}


def main(*, small: bool) -> None:
    """Print what was measured."""
    torch.set_num_threads(1)
    clients, crowd = (2, 4) if small else (CLIENTS, CROWD)
    pairs, compared, active = (1, 2, 1) if small else (PAIRS, 10, 50)
    for batch in BATCHES:
        found = ratio(batch, clients=clients, pairs=pairs)
        print(f"one by one / together, {clients} clients, batch {batch:2}: {found:.2f}")
    for optimizer in ("sgd", "adam"):
        for dtype in (torch.float32, torch.float64):
            found = difference(optimizer, dtype, clients=compared)
            print(f"largest difference, {optimizer} {dtype}: {found:.1e}")
    few, many = held(clients, active), held(crowd, active)
    each = (many - few) / (crowd - clients)
    print(f"{active} active of {clients} clients: {few / 2**20:.1f} MiB", end="")
    print(f", of {crowd}: {many / 2**20:.1f} MiB")
    print(f"that is {each / 2**10:.1f} KiB per further client")


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
