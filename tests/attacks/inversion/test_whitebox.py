"""The white box against cases whose answers are known in closed form."""

from dataclasses import replace

import pytest
import torch
from support.white_box_views import (
    conv_client,
    digits,
    error,
    linear_client,
    orthogonal,
    seeded,
    whitebox_view,
)
from torch import Tensor, nn

from sltoolkit.adversary.descent import OPTIMIZERS
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.adversary.total_variation import total_variation
from sltoolkit.attacks.inversion._observation import WhiteBoxView, observe
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ThreatModelError
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden

DEFAULT = WhiteBox().candidates(whitebox_view(conv_client(), digits(1)))[0]
"""The settings of an attacker without anything to rehearse on."""


def images(attack: WhiteBox, view: WhiteBoxView) -> Tensor:
    return attack.run(view, rng=Stream(1)).images


def test_an_orthogonal_client_hides_nothing() -> None:
    x = digits(8).double()
    view = whitebox_view(linear_client(orthogonal(64, 64, 0)), x)
    assert error(images(WhiteBox(tv_weight=0.0), view), x) < 1e-6


def test_gradient_descent_from_zero_finds_the_minimum_norm_solution() -> None:
    spectrum = torch.linspace(1, 2, 6).double()[:, None]
    weight = orthogonal(6, 6, 1) @ (spectrum * orthogonal(6, 16, 2))
    x = torch.randn(5, 1, 4, 4, generator=seeded(3)).double()
    view = whitebox_view(linear_client(weight), x)
    descent = WhiteBox(
        tv_weight=0.0,
        optimizer="sgd",
        schedule="constant",
        start="zero",
        box=False,
        lr=1.2,
        steps=300,
        window=0,
    )  # stable, since the loss has curvature 2/6 * 4
    expected = (torch.linalg.pinv(weight) @ weight @ x.flatten(1).T).T
    assert torch.allclose(images(descent, view).flatten(1), expected, atol=1e-8)
    assert error(expected, x.flatten(1)) > 0.1  # ten of the sixteen directions are lost


@pytest.mark.parametrize("beta", [1, 2])
def test_the_final_objective_is_at_most_that_of_the_truth(beta: int) -> None:
    x, client, weight = digits(8), conv_client(), 1e-3
    view = whitebox_view(client, x, aux=digits(100)[50:])
    outcome = replace(DEFAULT, tv_weight=weight, tv_beta=beta).run(view, rng=Stream(0))

    def feature_loss(guess: Tensor) -> float:
        with torch.no_grad():
            return float((client(guess) - client(x)).square().mean())

    def objective(guess: Tensor) -> float:
        return feature_loss(guess) + weight * float(total_variation(guess, beta=beta).mean())

    assert objective(outcome.images) <= objective(x) + 1e-6
    assert objective(outcome.images) == pytest.approx(outcome.curve[300], rel=1e-3)
    assert outcome.diagnostics["feature_loss"] == pytest.approx(
        feature_loss(outcome.images), rel=1e-2
    )


def test_the_moving_average_of_the_feature_loss_falls_all_the_way() -> None:
    view = whitebox_view(conv_client(), digits(8))
    curve = replace(DEFAULT, tv_weight=0.0, window=0).run(view, rng=Stream(0)).curve
    losses = torch.tensor([curve[step] for step in range(0, 300, 10)]).double()
    averages = losses.unfold(0, 5, 1).mean(1)
    assert (averages.diff() < 0).all()
    assert curve[300] < 1e-4 * curve[0]


def published_descent(
    client: nn.Module, heard: Tensor, *, deviation: float, steps: int, weight: float
) -> dict[int, Tensor]:
    """He, Zhang and Lee's code on one image in their pixels: step -> the image in [0, 1]."""

    def seen(pixels: Tensor) -> Tensor:
        return pixels * deviation + 0.5

    guess = torch.zeros(1, 1, 8, 8, requires_grad=True)
    adam = torch.optim.Adam([guess], lr=1e-2, eps=1e-3, amsgrad=True)
    found = {}
    for step in range(1, steps + 1):
        adam.zero_grad()
        across, down = guess.diff(dim=3).square().sum(), guess.diff(dim=2).square().sum()
        feature = (client(seen(guess)) - heard).square().mean()
        (feature + weight * (across + down) / guess.numel()).backward()
        adam.step()
        found[step] = seen(guess.detach())
    return found


@pytest.mark.parametrize("deviation", [0.5, 0.226])
@pytest.mark.parametrize("weight", [0.0, 0.01])
def test_amsgrad_makes_the_published_codes_steps_in_its_pixels(
    deviation: float, weight: float
) -> None:
    x, client = digits(1), conv_client()
    attack = WhiteBox(
        steps=500, lr=1e-2 * deviation, optimizer="amsgrad", epsilon=1e-3 / deviation,
        schedule="constant", start="gray", box=False, tv_weight=weight / deviation**2, tv_beta=2,
        forward="client", window=0,
    )  # fmt: skip
    view = whitebox_view(client, x, aux=digits(60)[20:])  # so it knows that nothing is withheld
    with torch.no_grad():
        heard = client(x)
    loop = published_descent(client, heard, deviation=deviation, steps=500, weight=weight)
    outcome = attack.run(view, rng=Stream(1))
    assert sorted(outcome.trace) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]
    for step, images_then in outcome.trace.items():
        assert torch.allclose(images_then, loop[step], rtol=0, atol=1e-5), step
    theirs = replace(attack, epsilon=1e-3).run(view, rng=Stream(1))
    assert not torch.allclose(theirs.images, loop[500], rtol=0, atol=1e-3)


def test_the_default_epsilon_is_the_published_one_for_mnist() -> None:
    assert WhiteBox().epsilon == 1e-3 / 0.5
    assert OPTIMIZERS["amsgrad"]([torch.zeros(1)]).defaults["eps"] == 1e-3 / 0.5


class Neighbors(nn.Module):
    """A client of element-wise operations, since matrix products round by the batch's size."""

    def forward(self, x: Tensor) -> Tensor:
        beside, below = x.roll(1, -1), x.roll(1, -2)
        return torch.cat([torch.tanh(2 * x - beside), 1.5 * below - x * x, beside - below], 1)


@pytest.mark.parametrize("tv_weight", [0.0, 1e-2])
def test_sixteen_targets_at_once_are_bit_identical_to_one_at_a_time(tv_weight: float) -> None:
    x, client = digits(16), Neighbors()
    attack = replace(DEFAULT, tv_weight=tv_weight, steps=150, window=30)
    outcome = attack.run(whitebox_view(client, x), rng=Stream(1))
    alone = [images(attack, whitebox_view(client, one[None])) for one in x]
    assert torch.equal(outcome.images, torch.cat(alone))
    assert (outcome.diagnostics["steps"] < 150) == (tv_weight > 0)  # some stopped early


def test_stopping_early_saves_steps_and_costs_no_quality() -> None:
    x, client = digits(16), conv_client()
    view = whitebox_view(client, x)
    attack = replace(DEFAULT, tv_weight=0.1, tv_beta=2)
    early, whole = (replace(attack, window=w).run(view, rng=Stream(1)) for w in (50, 0))
    assert early.diagnostics["steps"] < 0.7 * whole.diagnostics["steps"] == 0.7 * 300
    assert error(early.images, x) == pytest.approx(error(whole.images, x), rel=0.02)


def test_the_trace_shows_the_images_of_shorter_descents() -> None:
    view = whitebox_view(conv_client(), digits(4))
    attack = replace(DEFAULT, steps=20, schedule="constant")
    outcome = attack.run(view, rng=Stream(1))
    assert sorted(outcome.trace) == [1, 2, 4, 8, 16, 20]
    for step, shown in outcome.trace.items():
        assert torch.equal(shown, images(replace(attack, steps=step), view))


def test_signals_are_recovered_and_smoothed() -> None:
    time = torch.linspace(0, 6, 40)
    x = torch.stack([torch.sin(time * pace) / 2 + 0.5 for pace in (1, 2, 3)])[:, None]
    with Stream(0).scope():
        client = nn.Sequential(nn.Conv1d(1, 6, 5, padding=2), nn.Tanh()).eval()
    rough = replace(DEFAULT, tv_weight=0.0)
    assert error(images(rough, whitebox_view(client, x)), x) < 1e-6
    noise = 0.2 * torch.randn(3, 6, 40, generator=seeded(4))
    noisy = whitebox_view(client, x, release=lambda v: client(v) + noise)
    smooth = replace(rough, tv_weight=0.1)
    assert error(images(smooth, noisy), x) < 0.7 * error(images(rough, noisy), x)


@pytest.mark.parametrize(
    ("shape", "bounded"), [((1, 8, 8), True), ((1, 40), True), ((12,), False)], ids=str
)
def test_images_and_signals_start_at_one_half_and_stay_in_range(
    shape: tuple[int, ...], bounded: bool
) -> None:
    x = torch.rand(3, *shape, generator=seeded(0))
    view = whitebox_view(nn.Identity(), x, release=lambda v: v + 3)
    assert view.task.bounded == bounded
    still = WhiteBox(lr=1e-60, steps=1)  # float32 rounds its step to zero
    assert bool((images(still, view) == (0.5 if bounded else 0)).all())
    found = images(WhiteBox(steps=50, tv_weight=0.0), view)
    assert (0 <= found.min() <= found.max() <= 1) == bounded


def test_features_are_recovered_whatever_their_range_without_smoothing() -> None:
    x = 3 * torch.randn(4, 12, generator=seeded(5)).double()
    view = whitebox_view(linear_client(orthogonal(12, 12, 6)), x)
    assert {(c.tv_beta, c.tv_weight) for c in WhiteBox().candidates(view)} == {(1, 0.0)}
    assert error(images(WhiteBox(), view), x) < 1e-6


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_targets_attacked_together_fare_as_they_do_alone(chunk: int) -> None:
    x, client = digits(4), nn.Sequential(conv_client(), nn.BatchNorm2d(8), nn.MaxPool2d(2))
    attack = replace(DEFAULT, tv_weight=1e-3, steps=100)
    together = images(replace(attack, chunk=chunk), whitebox_view(client.eval(), x))
    alone = torch.cat([images(attack, whitebox_view(client, one[None])) for one in x])
    each, single = ((g - x).square().mean((1, 2, 3)) for g in (together, alone))
    assert torch.allclose(each, single, rtol=1e-2, atol=0)


def test_the_victims_network_is_left_as_it_was() -> None:
    client = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {k: v.clone() for k, v in client.state_dict().items()}
    images(WhiteBox(steps=3, tv_weight=0.0), whitebox_view(client.eval(), digits(4)))
    client.train()
    after = client.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.grad is None and p.requires_grad for p in client.parameters())


def test_channels_that_were_withheld_are_left_out_of_the_loss() -> None:
    x, client = digits(8), conv_client()[0]
    generator = seeded(5)

    def pruned(inputs: Tensor) -> Tensor:
        kept = torch.rand(len(inputs), 8, 1, 1, generator=generator) < 0.6
        sent: Tensor = client(inputs) * kept
        return sent

    view = whitebox_view(client, x, aux=digits(200)[100:], release=pruned)
    attack = WhiteBox(tv_weight=0.0)
    deaf = replace(view, aux=None, release=None, smashed=view.smashed + 1e-9)  # no visible zero
    assert error(images(attack, deaf), x) > 0.01
    assert error(images(attack, view), x) < 1e-3


def test_releases_with_different_masks_are_merged_channel_by_channel() -> None:
    z = torch.arange(1.0, 7).reshape(1, 1, 3, 2, 1)
    mask = torch.tensor([[1.0, 0, 0], [1, 1, 0]]).reshape(2, 1, 3, 1, 1)
    merged, sent = observe(z * mask, masked=True)
    assert sent.flatten().tolist() == [1, 1, 0]
    assert merged.flatten().tolist() == [1, 2, 3, 4, 0, 0]
    merged, sent = observe(z * mask, masked=False)
    assert sent.flatten().tolist() == [1, 1, 1]
    assert merged.flatten().tolist() == [1, 2, 1.5, 2, 0, 0]


def clip(z: Tensor) -> Tensor:
    """Shortens each target's smashed data to a length of 2, which all of them exceed."""
    length: Tensor = z.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    return z * (2 / length)


class Clipped(Defense):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return clip(z)


def test_rehearsal_finds_that_a_clipped_release_needs_the_clipped_model() -> None:
    x, client = digits(8), conv_client()

    view = whitebox_view(
        client,
        x,
        aux=digits(200)[100:],
        release=lambda v: clip(client(v)),
        mechanism=lambda _: Clipped(),
    )
    attack = replace(DEFAULT, steps=100, tv_weight=0.0, forward=None)
    outcome = rehearsed(attack, view, rng=Stream(0))
    assert isinstance(outcome, Reconstruction)
    assert outcome.tuned == {"forward": "mechanism"}
    naive = images(replace(attack, forward="client"), view)
    assert error(outcome.images, x) < 0.5 * error(naive, x)


def test_a_mechanism_that_is_not_granted_cannot_be_descended_through() -> None:
    with pytest.raises(ThreatModelError, match="grant mechanism"):
        images(WhiteBox(forward="mechanism"), whitebox_view(conv_client(), digits(2)))
