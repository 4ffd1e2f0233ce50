"""Every defense through a small training on real digits: it learns, deploys, and is handed over."""

import copy
from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.defenses import (
    DEFENSES,
    DISCO,
    DPActivations,
    GaussianNoise,
    LaplaceNoise,
    NoPeek,
    RandomPruning,
)
from sltoolkit.metrics.correlation import unbiased_distance_correlation
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.protocols._relay import hand_over
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.deployed import accuracy, evidence
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties

pytestmark = pytest.mark.golden

EPOCHS = 4
DEFENDED: dict[str, Defense] = {
    "none": NoDefense(),
    "gaussian_noise": GaussianNoise(std=0.3),
    "laplace_noise": LaplaceNoise(scale=0.2),
    "dp_activations": DPActivations(epsilon=100.0),
    "random_pruning": RandomPruning(ratio=0.25),
    "nopeek": NoPeek(weight=0.5),
    "disco": DISCO(ratio=0.4, lr=1e-3, width=8),
    "chain": Chain(NoPeek(weight=0.5), DISCO(ratio=0.4, width=8), GaussianNoise(std=0.1)),
}


@pytest.fixture(scope="module")
def digits() -> Split:
    raw = load_digits()
    x = torch.tensor(raw.data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    every = torch.arange(900)
    whole = Samples(x=x[:900], y=torch.tensor(raw.target[:900]), ids=every, groups=every)
    return Split(
        name="digits",
        private_train=whole[:500],
        private_holdout=whole[500:800],
        aux=whole[800:],
        classes=tuple("0123456789"),
    )


def parts(protocol: Protocol) -> tuple[nn.Module, ...]:
    with Stream(0).scope():
        head = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        middle = nn.Sequential(nn.Flatten(), nn.Linear(128, 32), nn.ReLU())
        tail = nn.Linear(32, 10)
    return (head, middle, tail) if protocol.parts == 3 else (head, nn.Sequential(middle, tail))


def trained(
    defense: Defense, data: Split, protocol: Protocol | None = None, epochs: int = EPOCHS
) -> Run:
    protocol = Vanilla() if protocol is None else protocol
    run = seat_parties(
        parts(protocol),
        data,
        protocol=protocol,
        defense=defense,
        training=Training(epochs=epochs, batch_size=25, lr=5e-3),
        rng=Stream(1),
    )
    run_phases(run, epochs)
    return run


def weights(run: Run) -> tuple[Tensor, Tensor]:
    """All weights of the deployed client, and of the server."""
    (member,), server = deploy(run)
    client, server_side = (
        torch.cat([t.flatten() for t in m.state_dict().values()]) for m in (member.client, server)
    )
    return client, server_side


def test_every_defense_is_tried_here() -> None:
    assert set(DEFENSES) <= set(DEFENDED)


@pytest.mark.parametrize("name", sorted(DEFENDED))
def test_training_under_a_defense_learns_and_deploys(name: str, digits: Split) -> None:
    run = trained(DEFENDED[name], digits)
    members, server = deploy(run)
    useful = [accuracy(members, server, digits.private_holdout, Stream(seed)) for seed in (5, 5)]
    assert useful[0] == useful[1]  # deploying and measuring leave no traces
    assert useful[0] > 0.3  # chance is 0.1
    found = evidence(members[0], digits.aux.x, Stream(5))
    assert (found["changed_rms"] > 0.01) == (name not in ("none", "nopeek"))


@pytest.mark.parametrize("name", sorted(DEFENDED))
def test_what_a_defense_learned_can_be_stored_and_loaded(name: str, digits: Split) -> None:
    (member,), _ = deploy(trained(DEFENDED[name], digits, epochs=1))
    stored = {n: copy.deepcopy(m.state_dict()) for n, m in member.defense.learned().items()}
    (other,), _ = deploy(trained(DEFENDED[name], digits, epochs=0))
    for part, module in other.defense.learned().items():
        module.load_state_dict(stored[part])
    x = digits.aux.x
    with torch.no_grad():
        ours = member.replica().smash(x, Stream(5))[1]
        theirs = replace(other, client=member.client).smash(x, Stream(5))[1]
    assert torch.equal(ours, theirs)
    assert bool(stored) == (name in ("disco", "chain"))


@pytest.mark.parametrize("protocol", [Vanilla(clients=2), UShaped(clients=2)], ids=repr)
def test_learned_networks_are_handed_over_with_the_client(
    protocol: Protocol, digits: Split
) -> None:
    run = trained(DISCO(width=4), digits, protocol, epochs=1)
    first, last = run.cast.clients
    assert not _equal(first.defense, last.defense)  # the last client went on learning
    hand_over(last, first, [last.seat, first.seat], run.cast.wire, Clock().idle(first))
    assert _equal(first.defense, last.defense)


def _equal(a: Defense, b: Defense) -> bool:
    pairs = zip(a.learned().values(), b.learned().values(), strict=True)
    tensors = [zip(m.state_dict().values(), n.state_dict().values(), strict=True) for m, n in pairs]
    return all(torch.equal(s, t) for both in tensors for s, t in both)


@pytest.mark.parametrize(
    "nothing", [Chain(), Chain(NoDefense()), GaussianNoise(std=0.0), RandomPruning(ratio=0.0)]
)
def test_no_defense_is_bit_identical_to_defenses_that_do_nothing(
    nothing: Defense, digits: Split
) -> None:
    ours, theirs = (weights(trained(d, digits, epochs=1)) for d in (NoDefense(), nothing))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_nopeek_lowers_the_unbiased_distance_correlation_of_the_release(digits: Split) -> None:
    x, found = digits.private_holdout.x, []
    for defense in (NoDefense(), NoPeek(weight=10.0)):
        (member,), _ = deploy(trained(defense, digits))
        with torch.no_grad():
            sent = member.smash(x, Stream(5))[1]
        found.append(float(unbiased_distance_correlation(x, sent)))
    assert found[1] < found[0] - 0.05


def test_the_server_never_sees_the_privacy_loss(digits: Split) -> None:
    # with one batch the server learns from what was sent before the loss could act
    one = replace(digits, private_train=digits.private_train[:25])
    plain, private = (weights(trained(d, one, epochs=1)) for d in (NoDefense(), NoPeek()))
    assert not torch.equal(plain[0], private[0])
    assert torch.equal(plain[1], private[1])
