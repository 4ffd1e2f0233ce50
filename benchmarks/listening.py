"""Listeners: five on one run against five runs, and SDAR's own step against a hand-written one.

    python benchmarks/listening.py [THREADS] [--small]

Both sides are timed in this process in turns, so that a noisy machine slows both alike; medians of
the ratios of neighboring measurements are reported. THREADS is torch's number of threads, by
default one, as in a worker of the bench. `identical` says whether the victim of five listeners is
bit-identical to a victim without listeners.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from command_line import parser
from split_epoch import random_split, seconds
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit import models
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.attacks.listening.sdar import SDAR, Simulation
from sltoolkit.contracts.attack import BatchView, Listener, ListenerState
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla
from sltoolkit.referee.listening import ListenerEar, open_listener
from sltoolkit.referee.sessions import ListeningSession
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.message import SERVER, Seat
from sltoolkit.wire.turn import Turn

BATCH, BATCHES = 32, 12
MODEL, SHAPE, CUT = "lenet", (1, 28, 28), "relu2"
REPEATS, STEPS = 5, 15
GRANTS = ("aux", "client_arch")
FIVE: tuple[Callable[[], Listener[Any]], ...] = (
    PCAT.smoke, SDAR.smoke, lambda: replace(PCAT.smoke(), aligned=False),
    lambda: replace(SDAR.smoke(), lambda2=0.0), lambda: replace(SDAR.smoke(), lambda1=0.0),
)  # fmt: skip


def run_of() -> Run:
    """A seated run on random images, because only the speed matters here."""
    with Stream(0).scope():
        whole = models.build(MODEL, shape=SHAPE, classes=10)
    return seat_parties(
        models.cut(whole, CUT), random_split(BATCH * BATCHES, SHAPE), protocol=Vanilla(),
        defense=NoDefense(), training=Training(batch_size=BATCH), rng=Stream(0),
    )  # fmt: skip


def attached(run: Run, listeners: Sequence[Listener[Any]]) -> list[ListenerEar]:
    """Put listeners on the wire of a run; returns their ears."""
    ears = [open_listener(x, run, seed=0, grants=GRANTS)[1] for x in listeners]
    run.cast.wire = run.cast.wire.with_ears(ears)
    return ears


def trained(listeners: Sequence[Listener[Any]]) -> tuple[float, list[Tensor]]:
    """Seconds of an epoch without the listeners' own work, and the weights at the end."""
    run = run_of()
    attached(run, listeners)
    with own_work() as spent:
        start = time.perf_counter()
        run_phases(run, 1)
        whole = time.perf_counter() - start
    parts = [party.module for _, party, _ in run.cast.networks()]
    return whole - sum(spent), [t.clone() for part in parts for t in part.state_dict().values()]


@contextmanager
def own_work() -> Iterator[list[float]]:
    """A list of the seconds that listener states spend on each batch that they hear."""
    spent: list[float] = []

    def timed(hear: Callable[[Any, BatchView], None]) -> Callable[[Any, BatchView], None]:
        def hearing(self: ListenerState, heard: BatchView) -> None:
            spent.append(seconds(lambda: hear(self, heard)))

        return hearing

    with mock.patch.object(PseudoClient, "hear", timed(PseudoClient.hear)), \
         mock.patch.object(Simulation, "hear", timed(Simulation.hear)):  # fmt: skip
        yield spent


def together(*, repeats: int = REPEATS) -> tuple[float, float]:
    """Compare five listeners on one run with five runs of one listener each.

    Returns:
        The ratio of the seconds, without the listeners' own work, and 1.0 if the victim with five
        listeners is bit-identical to the victim without listeners, else 0.0.
    """
    trained([make() for make in FIVE])
    ratios = []
    for _ in range(repeats):
        one, weights = trained([make() for make in FIVE])
        ratios.append(one / sum(trained([make()])[0] for make in FIVE))
    alone = trained([])[1]
    same = all(torch.equal(a, b) for a, b in zip(weights, alone, strict=True))
    return statistics.median(ratios), float(same)


Step = Callable[[Tensor, Tensor, nn.Module, Tensor, Tensor], None]


def by_hand(simulation: Simulation, attack: SDAR) -> Step:
    """SDAR's step as one would write it for a single run, on the networks of a listener state."""
    substitute = simulation.substitute
    feature, image = simulation.feature_critic, simulation.image_critic
    if feature is None or image is None:
        raise ValueError("by hand, SDAR has both critics: give lambda1 and lambda2")
    e, d, D_e, D_d = (x.network for x in (substitute.client, substitute.decoder, feature, image))
    lr, decoder_lr, lambda1 = attack.lr or 0.0, attack.decoder_lr or 0.0, attack.lambda1 or 0.0
    rates = lr, decoder_lr, lambda1 * lr, attack.lambda2 * decoder_lr
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=lr, fused=True)
        for network, lr in zip((e, d, D_e, D_d), rates, strict=True)
    ]
    bce = functional.binary_cross_entropy_with_logits

    def follow(loss: Tensor, which: int) -> None:
        optimizers[which].zero_grad()
        loss.backward()
        optimizers[which].step()

    def step(z: Tensor, y: Tensor, g: nn.Module, x: Tensor, own: Tensor) -> None:
        real, fake = z.new_ones((len(z), 1)), z.new_zeros((len(z), 1))
        codes = e(x)
        D_e.requires_grad_(False)
        task = functional.cross_entropy(g(codes.clone()), own)
        follow(task + lambda1 * bce(D_e(codes, own), real), 0)
        D_e.requires_grad_(True)
        follow(bce(D_e(z, y), real) + bce(D_e(codes.detach(), own), fake), 2)
        with torch.no_grad():
            codes = e(x)
        error = functional.mse_loss(d(codes, own), x)
        drawn = d(z, y)
        D_d.requires_grad_(False)
        follow(error + attack.lambda2 * bce(D_d(drawn, y), real), 1)
        D_d.requires_grad_(True)
        follow(bce(D_d(x, own), real) + bce(D_d(drawn.detach(), y), fake), 3)

    return step


def sdar_step(attack: SDAR, *, steps: int = STEPS) -> float:
    """Seconds of a batch through wire, ear and listener state, over the hand-written step's."""
    run = run_of()
    attached, ear = open_listener(attack, run, seed=0, grants=GRANTS)
    wire = run.cast.wire.with_ears([ear])
    silent = run.cast.wire.with_ears([])
    held, client, server = run.data.private_train, Seat("client"), run.cast.server.party
    g = torch.Generator().manual_seed(0)
    z = torch.rand(BATCH, *run.task.smashed_shape, generator=g)
    y, ids = held.y[:BATCH], held.ids[:BATCH]
    turn = Turn(ids=ids, x=None, y=None, step=0, epoch=0, phase="train", rng=Stream(0))

    def say(through: Any) -> None:
        through.send(y, src=client, dst=SERVER, kind="labels", turn=turn)
        through.send(z, src=client, dst=SERVER, kind="smashed", turn=turn)
        through.send(z, src=SERVER, dst=client, kind="smashed_grad", turn=turn)
        through.close(turn)

    say(wire)
    session = attached.listener_state
    if not isinstance(session, ListeningSession) or not isinstance(session.state, Simulation):
        raise TypeError("SDAR opens another listener state")
    hand, aux = by_hand(session.state, attack), run.data.aux

    def plain() -> None:
        rows = torch.randint(len(aux.y), (BATCH,))
        hand(z, y, server.module.eval().requires_grad_(False), aux.x[rows], aux.y[rows])  # type: ignore[union-attr]

    def beyond() -> float:
        return seconds(lambda: say(wire)) - seconds(lambda: say(silent))

    plain()
    return statistics.median(beyond() / seconds(plain) for _ in range(steps))


def measure(*, small: bool = False) -> dict[str, float]:
    """The ratios, and the bars that they must stay below."""
    repeats, steps = (1, 1) if small else (REPEATS, STEPS)
    ratio, identical = together(repeats=repeats)
    return {
        "five_on_one_run": ratio, "five_on_one_run_bar": 0.5, "identical": identical,
        "sdar_step": sdar_step(SDAR.paper(), steps=steps),
        "sdar_narrow_step": sdar_step(SDAR.smoke(), steps=steps), "sdar_step_bar": 1.15,
    }  # fmt: skip


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("threads", nargs="?", type=int, default=1)
    given = command.parse_args()
    torch.set_num_threads(given.threads)
    start = time.perf_counter()
    for key, value in measure(small=given.small).items():
        print(f"{key:24} {value:.3f}")
    print(f"{'seconds':24} {time.perf_counter() - start:.0f}")
