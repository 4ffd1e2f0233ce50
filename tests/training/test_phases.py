"""Phases and epochs of a training: progress, losses, divergence."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import pytest
from contract.example_defenses import LearnedNoise
from support.networks import weights
from support.toys import differences, seated, split, victim, witness
from torch import nn

from sltoolkit.api import train
from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.wire.turn import Phase


@pytest.mark.parametrize("lr", [1e30, 1e38])
def test_a_training_that_diverges_says_when_and_what_to_do(lr: float) -> None:
    with pytest.raises(ProtocolError, match=r"diverged in epoch \d of 3 .*lower the learning rate"):
        victim(norm="batch", training=Training(epochs=3, lr=lr, optimizer="sgd"))


@final
@dataclass(kw_only=True, eq=False)
class OneEpoch(Defense):
    """Trains for one epoch, whatever the training says."""

    citation: ClassVar[str] = "nobody 2026"
    phases: ClassVar[tuple[Phase, ...]] = (Phase("train", 1),)


@pytest.mark.parametrize(
    ("defense", "total"), [(None, 2), (LearnedNoise(epochs=3), 5), (OneEpoch(), 1)]
)
def test_progress_counts_the_epochs_of_all_phases(defense: Defense | None, total: int) -> None:
    calls: list[tuple[int, int]] = []
    trained = victim(defense, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(k + 1, total) for k in range(total)]
    assert len(trained.losses) == total
    assert all(loss > 0 for loss in trained.losses)


def test_losses_are_means_over_batches_and_fall() -> None:
    seen = witness(seated(dropout=0.0), epochs=8)
    assert seen.losses[-1] < 0.5 * seen.losses[0]


@pytest.mark.parametrize("protocol", [Vanilla(), UShaped(), Vanilla(clients=2, handover="none")])
def test_without_training_nobody_learns(protocol: Protocol) -> None:
    run = seated(training=None, norm="batch", protocol=protocol)
    before = weights(run)
    seen = witness(run)
    assert differences(before, weights(run)) == []
    assert seen.payloads("smashed_grad")[0].abs().sum() > 0  # gradients flow all the same


def test_one_seed_gives_one_victim_and_another_seed_another() -> None:
    def state(seed: int) -> dict[str, Any]:
        trained = victim(norm="batch", seed=seed)
        return {**trained.client.client.state_dict(), **trained.server.state_dict()}

    assert differences(state(0), state(0)) == []
    assert len(differences(state(0), state(1))) >= 10


def test_a_client_without_weights_trains_its_server() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    trained = train(make, split(), cut=0, training=Training(epochs=12, lr=0.05), targets=None)
    assert trained.utility > 0.8


def test_optimizer_states_persist_across_epochs() -> None:
    run = seated()
    witness(run)
    server = run.cast.server.party
    assert isinstance(server, HonestServer)
    assert server.optimizer is not None
    momenta = [s["momentum_buffer"] for s in server.optimizer.state.values()]
    assert len(momenta) == len(list(server.module.parameters()))
