"""NoPeek: its loss, which networks the loss reaches, and that it falls."""

from dataclasses import replace

import pytest
import torch
from support.defended import trained, weights
from support.defense_checks import check_refused
from support.defense_inputs import images, randn, turn_for
from torch import Tensor, nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Split
from sltoolkit.defenses import NoPeek
from sltoolkit.metrics.correlation import unbiased_distance_correlation
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy
from sltoolkit.wire.turn import PhaseName

pytestmark = pytest.mark.golden


def encoder() -> nn.Sequential:
    with Stream(1).scope():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh())


def centered_distances(x: Tensor) -> Tensor:
    flat = x.flatten(1).double()
    d = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    return d - d.mean(0) - d.mean(1)[:, None] + d.mean()


def test_the_loss_is_the_weighted_distance_correlation_of_inputs_and_what_was_sent() -> None:
    x, z = images(20), randn(20, 6, 4, 4)
    loss = NoPeek(weight=3.0).client_loss(z, turn_for(x))
    assert loss is not None
    a, b = centered_distances(x), centered_distances(z)
    oracle = ((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt()).sqrt()
    assert float(loss) == pytest.approx(3.0 * float(oracle), rel=1e-5)


def test_a_constant_release_gives_a_finite_loss_and_gradient() -> None:
    z = torch.ones(8, 5, requires_grad=True)
    loss = NoPeek().client_loss(z, turn_for(images(8)))
    assert loss is not None
    loss.backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("batch", [0, 1])
def test_too_few_samples_to_compare_add_no_loss(batch: int) -> None:
    assert NoPeek().client_loss(randn(batch, 5), turn_for(images(batch))) is None


@pytest.mark.parametrize("phase", ["fit", "release"])
def test_only_training_adds_a_loss(phase: PhaseName) -> None:
    assert NoPeek().client_loss(randn(8, 5), turn_for(images(8), phase)) is None


def test_the_privacy_gradient_reaches_every_weight_of_the_client_and_is_remembered() -> None:
    client, x, defense = encoder(), images(16), NoPeek(weight=2.0)
    z = client(x)
    sent = defense.smash(z, turn_for(x))
    assert sent is z
    loss = defense.client_loss(sent, turn_for(x))
    assert loss is not None
    (at_cut,) = torch.autograd.grad(loss, z, retain_graph=True)
    (loss + 100 * sent.sum()).backward()  # the task's gradient must not be counted
    for weight in client.parameters():
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    evidence = defense.evidence(z.detach()[None], z.detach()[None])
    assert evidence["changed_rms"] == 0
    assert evidence["train_privacy_grad_norm"] == pytest.approx(float(at_cut.norm()), rel=1e-5)
    assert evidence["train_dcor"] == pytest.approx(float(loss.detach()) / 2, rel=1e-6)


def test_before_any_training_the_evidence_claims_no_training() -> None:
    z = randn(1, 4, 5)
    assert set(NoPeek().evidence(z, z)) == {"changed_rms"}


def test_following_the_loss_lowers_the_distance_correlation() -> None:
    client, x, defense = encoder(), images(128), NoPeek()
    optimizer = torch.optim.Adam(client.parameters(), lr=1e-2)
    before = float(unbiased_distance_correlation(x, client(x).detach()))
    for _ in range(60):
        loss = defense.client_loss(client(x), turn_for(x))
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = float(unbiased_distance_correlation(x, client(x).detach()))
    assert 0 < after < before / 2


def test_impossible_hyper_parameters_are_refused() -> None:
    check_refused(NoPeek, {"weight": -1.0})


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
