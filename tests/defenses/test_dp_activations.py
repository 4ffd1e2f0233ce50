"""Private activations: the clip, the noise, the guarantee, and an audit of all three."""

import math

import pytest
import torch
from support.defense_checks import check_fresh_noise, check_refused
from support.defense_inputs import PHASES, SHAPES, randn, turn_for
from torch import nn

from sltoolkit.defenses import DPActivations
from sltoolkit.errors import SpecError
from sltoolkit.privacy import compose, delta_of, epsilon_of, noise_for

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("shape", SHAPES)
def test_each_example_is_clipped_on_its_own(shape: tuple[int, ...]) -> None:
    dp = DPActivations(epsilon=1e9, clip=2.0)  # practically no noise: the clip is what is left
    assert dp.sigma < 1e-3
    z = randn(4, *shape)
    z = z / z.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape))
    wanted = torch.tensor([0.5, 1.999, 5.0, 4000.0]).reshape(-1, *[1] * len(shape))
    sent = dp.smash(z * wanted, turn_for(z)).flatten(1)
    norms = sent.norm(dim=1)
    # clipping the batch as a whole would leave next to nothing of the small ones
    assert norms.tolist() == pytest.approx([0.5, 1.999, 2.0, 2.0], abs=0.01)
    cosines = nn.functional.cosine_similarity(sent, z.flatten(1))
    assert cosines.min() > 0.999
    one = dp.smash((z * wanted)[3:], turn_for(z)).flatten(1)
    assert torch.allclose(one[0], sent[3], atol=0.01)


def test_clipping_has_finite_gradients_also_for_an_example_of_zeros() -> None:
    z = torch.stack([torch.zeros(5), torch.ones(5), 10 * torch.ones(5)]).requires_grad_()
    DPActivations().smash(z, turn_for(z)).square().sum().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def test_private_noise_is_calibrated_to_twice_the_clip_norm() -> None:
    dp = DPActivations(epsilon=1.0, delta=1e-5, clip=3.0)
    assert dp.sigma == pytest.approx(2 * 3.0 * 3.7306, rel=1e-4)
    z = torch.zeros(400, 500)
    for phase in PHASES:
        noise = dp.smash(z, turn_for(z, phase))
        assert float(noise.std()) == pytest.approx(dp.sigma, rel=5 / math.sqrt(2 * z.numel()))


def test_private_evidence_measures_noise_around_the_clipped_and_the_fraction_clipped() -> None:
    dp = DPActivations(epsilon=20.0, clip=1.0)
    z = torch.cat([0.001 * randn(30, 2000), 10 * randn(10, 2000, seed=1)])
    evidence = dp.evidence(z[None], dp.smash(z, turn_for(z, "release"))[None])
    assert evidence["noise_std"] == pytest.approx(dp.sigma, rel=0.02)
    assert evidence["clipped_fraction"] == 0.25


def test_the_guarantee_composes_over_releases_and_says_what_it_is_about() -> None:
    dp = DPActivations(epsilon=1.0, delta=1e-5)
    once, often = (dp.guarantee(releases=k, delta=1e-5) for k in (1, 100))
    assert once is not None
    assert often is not None
    assert once.epsilon == pytest.approx(1.0, rel=1e-6)
    ratio = compose(noise_for(1.0, 1e-5), 100)
    assert often.epsilon == pytest.approx(epsilon_of(1e-5, ratio), rel=1e-9)
    assert delta_of(often.epsilon, ratio) <= 1e-5
    assert 10 < often.epsilon < 100  # neither unchanged nor a mere sum
    for said in ("one example", "replacement", "smashed data", "100 releases", "labels"):
        assert said in str(often)
    assert dp.guarantee(releases=0, delta=1e-5) is None
    with pytest.raises(SpecError, match="releases"):
        dp.guarantee(releases=-1, delta=1e-5)
    with pytest.raises(SpecError, match="delta"):
        dp.guarantee(releases=1, delta=0.0)


def _audited_mu(dp: DPActivations, forget_clip: bool = False) -> float:
    """|mean difference| / std between the releases of two canaries, by the threshold halfway."""
    n, canary = 100_000, torch.tensor([3.0, 4.0]) / 5 * 2 * dp.clip  # norm 2C: must be clipped
    rates = []
    for world, sign in enumerate((-1.0, 1.0)):
        z = (sign * canary).expand(n, 2)
        turn = turn_for(z, "release", seed=world)
        sent = dp.smash(z, turn)
        if forget_clip:
            sent = sent + z / 2
        rates.append(float((sent @ canary > 0).double().mean()))
    normal = torch.distributions.Normal(0.0, 1.0)
    return float(normal.icdf(torch.tensor(rates[1])) - normal.icdf(torch.tensor(rates[0])))


def test_an_audit_finds_just_the_privacy_that_is_claimed_and_catches_a_forgotten_clip() -> None:
    dp = DPActivations(epsilon=epsilon_of(1e-5, 1.0), delta=1e-5, clip=0.7)  # sigma = 2C: mu = 1
    assert _audited_mu(dp) == pytest.approx(1.0, abs=0.025)  # its standard deviation is 0.006
    assert _audited_mu(dp, forget_clip=True) > 1.5


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"delta": 1.0}, {"clip": 0.0}])
def test_impossible_hyper_parameters_are_refused(bad: dict[str, float]) -> None:
    check_refused(DPActivations, bad)


def test_noise_is_fresh_per_call_and_the_same_for_the_same_stream() -> None:
    check_fresh_noise(DPActivations())
