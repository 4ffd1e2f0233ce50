"""Defenses at the seams of the protocols, and runs in which nobody learns, in float64."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from support.tiny import (
    ADAM,
    CLASSES,
    EPOCHS,
    MOMENTUM,
    PROTOCOLS,
    SGD,
    N,
    centralized,
    close,
    data,
    flat,
    network,
    play,
    trained,
)
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, NoDefense, PartySetup
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.sampling import Sampler
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.transcript import Recording, Transcript
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden


@dataclass(kw_only=True, eq=False)
class Smoothing(Defense):
    """Sends labels as float weights."""

    amount: float

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        hot = nn.functional.one_hot(y, CLASSES).double()
        return hot * (1 - self.amount) + self.amount / CLASSES


@PROTOCOLS
@pytest.mark.parametrize("amount", [0.0, 0.3])
def test_label_weights_are_learned_from_as_smoothed_labels_are(
    protocol: Protocol, amount: float
) -> None:
    run, log = play(protocol, MOMENTUM, defense=Smoothing(amount=amount))
    close(trained(run), centralized(log.batches(), MOMENTUM, smoothing=amount))
    traveling = [m.payload.shape[1] for m in log.sent("labels", "client")]
    assert set(traveling) <= {CLASSES}
    assert bool(traveling) == (protocol == Vanilla())


@dataclass(kw_only=True, eq=False)
class Refusing(Defense):
    """Refuses the batches from step `since` on."""

    since: int

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        return g if turn.step < self.since else None

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return z.square().mean()


@PROTOCOLS
def test_refused_batches_teach_the_client_nothing(protocol: Protocol) -> None:
    never, _ = play(protocol, ADAM, defense=Refusing(since=0))
    head = never.cast.clients[0].party.module
    assert torch.equal(weights(head), weights(network(2)[0]))
    one, _ = play(protocol, ADAM, defense=Refusing(since=1))
    two, _ = play(protocol, replace(ADAM, lr=2e-2), defense=Refusing(since=1))
    start = weights(head)
    first, double = (weights(r.cast.clients[0].party.module) - start for r in (one, two))
    assert first.abs().max() > 0
    close(double, 2 * first)  # exactly one step was taken, though Adam's momentum went on


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@dataclass(frozen=True)
class Sparse(Sampler):
    """Another sampler's batches with empty ones before, between and after."""

    inner: Sampler

    def batches(self, n: int, rng: Stream) -> Iterator[Tensor]:
        empty = torch.zeros(0, dtype=torch.int64)
        for index in self.inner.batches(n, rng):
            yield from (empty, index)
        yield empty


@dataclass(kw_only=True, eq=False)
class EmptyBatches(Defense):
    def begin(self, setup: PartySetup) -> PartySetup:
        return replace(setup, sampler=Sparse(setup.sampler))


@PROTOCOLS
def test_empty_batches_are_harmless(protocol: Protocol) -> None:
    plain, _ = play(protocol, SGD)
    sparse, log = play(protocol, SGD, defense=EmptyBatches())
    assert [len(ids) for ids in log.batches()[:4]] == [0, 5, 0, 5]
    close(without_counters(sparse), without_counters(plain))
    assert plain.cast.wire.bytes == sparse.cast.wire.bytes
    adam, _ = play(protocol, ADAM, defense=EmptyBatches())
    assert bool(torch.isfinite(trained(adam)).all())


def without_counters(run: Run) -> Tensor:
    """The deployed network without BatchNorm's count of batches, which counts empty ones too."""
    members, server = deploy(run)
    modules = [members[0].client, server, members[0].tail]
    states = [m.state_dict() for m in modules if m is not None]
    return torch.cat([t.flatten() for s in states for t in s.values() if t.is_floating_point()])


@dataclass(kw_only=True, eq=False)
class Learning(Defense):
    """Has its own network, which changes at every step."""

    def begin(self, setup: PartySetup) -> PartySetup:
        self.net = nn.Linear(1, 1)
        return setup

    def step(self, turn: Turn) -> None:
        with torch.no_grad():
            self.net.weight.add_(1)

    def learned(self) -> Mapping[str, nn.Module]:
        return {"net": self.net}


def test_the_networks_of_a_defense_are_handed_over_with_the_clients() -> None:
    run, log = play(Vanilla(clients=3), defense=Learning())
    nets = [next(iter(m.defense.learned().values())).state_dict() for m in run.cast.clients]
    counts = Counter(m.src.index for m in log.sent("smashed", "client"))
    assert nets[1]["bias"] == nets[0]["bias"]
    grown = float(nets[2]["weight"] - nets[1]["weight"])
    assert grown == pytest.approx(counts[2] / EPOCHS, abs=1e-4)


@PROTOCOLS
def test_without_training_nothing_moves_and_gradients_still_arrive(protocol: Protocol) -> None:
    transcript = Transcript(Recording(kinds=frozenset({"smashed_grad"})))
    run = seat_parties(
        network(protocol.parts),
        data(),
        protocol=protocol,
        defense=NoDefense(),
        training=None,
        rng=Stream(0),
        ears=[transcript],
    )
    losses = run_phases(run, 2)
    assert torch.equal(trained(run), flat(*network(2)))
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    for link in transcript.links():
        record = transcript.record(link)
        assert len(record.rows) == 2 * N
        assert bool((record.rows.flatten(1).norm(dim=1) > 0).all())
    assert len(transcript.links()) == protocol.parts - 1


def test_a_training_that_diverges_is_an_error() -> None:
    wild = replace(SGD, lr=1e308)
    with pytest.raises(ProtocolError, match="diverged in epoch"):
        play(Vanilla(), wild)
