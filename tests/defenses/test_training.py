"""Every defense through a small training on real digits: it learns, deploys, and is handed over."""

import copy
from dataclasses import replace

import pytest
import torch
from support.defended import trained, weights

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.defenses import (
    DEFENSES,
    DISCO,
    DPActivations,
    GaussianNoise,
    LaplaceNoise,
    NoPeek,
    RandomPruning,
)
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import evidence
from sltoolkit.training.phases import deploy
from sltoolkit.training.utility import measure_utility

pytestmark = pytest.mark.golden

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


def test_every_defense_is_tried_here() -> None:
    assert set(DEFENSES) <= set(DEFENDED)


@pytest.mark.parametrize("name", sorted(DEFENDED))
def test_training_under_a_defense_learns_and_deploys(name: str, digits: Split) -> None:
    run = trained(DEFENDED[name], digits)
    members, server = deploy(run)
    held = digits.private_holdout
    useful = [measure_utility(members, server, held, Stream(seed)) for seed in (5, 5)]
    assert useful[0] == useful[1]  # deploying and measuring leave no traces
    assert useful[0].accuracy > 0.3  # the majority share is about 0.1
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


@pytest.mark.parametrize(
    "nothing", [Chain(), Chain(NoDefense()), GaussianNoise(std=0.0), RandomPruning(ratio=0.0)]
)
def test_no_defense_is_bit_identical_to_defenses_that_do_nothing(
    nothing: Defense, digits: Split
) -> None:
    ours, theirs = (weights(trained(d, digits, epochs=1)) for d in (NoDefense(), nothing))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
