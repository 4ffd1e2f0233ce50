"""FSHA's training step in the toolkit, against a hand-written loop of the same networks and losses.

    python benchmarks/hijack.py [THREADS] [--small]

Both run in this process in turns, in short stretches, so that a noisy machine slows both alike; the
median of the ratios of neighboring stretches is reported. The toolkit's time includes the whole
batch: client, wire, attacker, client's update. The loop draws the same number of samples.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

import torch
from command_line import parser
from split_epoch import random_split, seconds
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.attacks import FSHA
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.networks.critics import residual_critic
from sltoolkit.networks.substitutes import strided_substitute, transposed_decoder
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla
from sltoolkit.referee.listening import seize
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import seat_parties

BAR = 1.15
BATCH = 32
BATCHES = 2
PAIRS = 9
IMAGE = (3, 32, 32)
WIDTH, BLOCKS = 32, 2


def client() -> nn.Module:
    """The paper's client up to its second block, an eighth as wide."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
    )  # fmt: skip


def by_hand(data: Split, aux: Tensor) -> Callable[[], None]:
    """An epoch of a plain loop, with one graph for each loss and torch's default Adam."""
    f, x = client(), data.private_train.x
    shape = (16, 8, 8)
    pilot, decoder = strided_substitute(IMAGE, shape), transposed_decoder(shape, IMAGE, width=WIDTH)
    critic = residual_critic(shape, width=WIDTH, blocks=BLOCKS)
    own = torch.optim.Adam([*pilot.parameters(), *decoder.parameters()], lr=1e-5)
    on_critic = torch.optim.Adam(critic.parameters(), lr=1e-4)
    theirs = torch.optim.Adam(f.parameters(), lr=1e-3)

    def epoch() -> None:
        for index in torch.randperm(len(x)).split(BATCH):
            z, public = f(x[index]), aux[torch.randint(len(aux), (len(index),))]
            heard = z.detach().requires_grad_()
            codes = pilot(public)
            own.zero_grad()
            functional.mse_loss(decoder(codes), public).backward()
            own.step()
            scores, codes = critic(heard), codes.detach()
            (g,) = torch.autograd.grad(scores.mean(), heard, retain_graph=True)
            share = torch.rand(len(z), 1, 1, 1)
            point = (share * heard + (1 - share) * codes).detach().requires_grad_()
            slope = torch.autograd.grad(critic(point).sum(), point, create_graph=True)[0]
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            on_critic.zero_grad()
            (critic(codes).mean() - scores.mean() + 500 * penalty).backward()
            on_critic.step()
            theirs.zero_grad()
            z.backward(g)
            theirs.step()

    return epoch


def hijacked(data: Split) -> Callable[[], None]:
    """An epoch of the toolkit's vanilla protocol under attack."""
    server = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    run = seat_parties(
        (client(), server), data, protocol=Vanilla(), defense=NoDefense(),
        training=Training(batch_size=BATCH), rng=Stream(0),
    )  # fmt: skip
    attack = replace(FSHA.paper(), width=WIDTH, blocks=BLOCKS)
    _, ear = seize(attack, run, seed=0, grants=("aux",))
    run.cast.wire = run.cast.wire.with_ears([ear])
    return lambda: run.protocol.epoch(run.cast, Clock(), "train")


def measure(*, pairs: int = PAIRS) -> dict[str, float]:
    """The toolkit's seconds over the plain loop's, the bar, and milliseconds per step."""
    data = random_split(BATCHES * BATCH, IMAGE)
    aux = torch.rand(256, *IMAGE)
    with Stream(0).scope():
        plain, attacked = by_hand(data, aux), hijacked(data)
    plain(), attacked()
    ratios, steps = [], []
    for _ in range(pairs):
        toolkit, hand = seconds(attacked), seconds(plain)
        ratios.append(toolkit / hand)
        steps.append(1e3 * toolkit / BATCHES)
    return {
        "fsha_step_ratio": statistics.median(ratios),
        "fsha_step_bar": BAR,
        "fsha_step_ms": statistics.median(steps),
    }


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("threads", nargs="?", type=int, default=1)
    given = command.parse_args()
    torch.set_num_threads(given.threads)
    for key, value in measure(pairs=1 if given.small else PAIRS).items():
        print(f"{key:18} {value:.3f}")
