"""The deep image prior against its loop written out, and against a descent on pixels."""

from dataclasses import replace

import pytest
import torch
from support.white_box_views import conv_client, digits, error, seeded, whitebox_view
from torch import Tensor, nn

from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.inversion.deep_image_prior import TV_WEIGHTS, DeepImagePrior
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.defense import Task
from sltoolkit.data import pool
from sltoolkit.networks.unet import skip_network
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

PLAIN = DeepImagePrior(tv_weight=0.0, forward="client", steps=200, width=8)


def photos(n: int) -> Tensor:
    """Patches of photographs, (n, 3, 32, 32), from all over the data set."""
    x = pool("photos").samples.x
    return x[:: len(x) // n][:n].contiguous()


def mixing_client() -> nn.Module:
    """Keeps twelve random mixtures of each patch of 4x4 pixels and loses three quarters."""
    with Stream(5).scope():
        return nn.Conv2d(3, 12, 4, stride=4).eval()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 25, 23), (3, 32, 32)])
def test_the_prior_draws_images_of_any_shape(shape: tuple[int, int, int]) -> None:
    with Stream(0).scope():
        prior, noise = skip_network(shape, noise=5, width=4), torch.rand(2, 5, *shape[1:])
    images = prior(noise).detach()
    assert images.shape == (2, *shape)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    apart = torch.cat([prior(one[None]) for one in noise])  # it normalizes each image by itself
    assert torch.allclose(images, apart, atol=1e-5)


def test_its_descent_written_out_gives_the_same_images() -> None:
    x, client = digits(2), conv_client()
    attack = replace(PLAIN, steps=4, width=4, tv_weight=0.01)
    view = whitebox_view(client, x, aux=digits(60)[20:])
    outcome = attack.run(view, rng=Stream(1))
    for row in range(2):
        with Stream(1).child("descent").scope():
            prior = skip_network((1, 8, 8), width=4)
            noise = torch.rand(1, 32, 8, 8) / 10
        adam = torch.optim.Adam(prior.parameters(), lr=1e-2)
        for _ in range(4):
            image = prior(noise)
            right = nn.functional.pad(image.diff(dim=-1), (0, 1))
            below = nn.functional.pad(image.diff(dim=-2), (0, 0, 0, 1))
            rough = (right**2 + below**2 + 1e-6).sqrt().mean()
            loss = (client(image) - view.smashed[0, [row]]).square().mean() + 0.01 * rough
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert torch.allclose(outcome.images[[row]], prior(noise), atol=1e-4)


def test_it_finds_natural_images_where_pixels_alone_find_patterns() -> None:
    x = photos(4)
    view = whitebox_view(mixing_client(), x)
    prior = PLAIN.run(view, rng=Stream(1))
    pixels = WhiteBox(tv_weight=0.0, lr=0.2, steps=200).run(view, rng=Stream(1))
    assert error(prior.images, x) < 0.2 * error(pixels.images, x)
    # both explain what was heard; free pixels do so better
    spread = float(view.smashed.var())
    losses = [o.diagnostics["feature_loss"] / spread for o in (pixels, prior)]
    assert losses[0] < losses[1] < 1e-3
    assert list(prior.curve)[-1] == list(pixels.curve)[-1] == 200


def test_undefended_photographs_leak_and_strong_noise_hides_them() -> None:
    x, noise = photos(4), seeded(2)
    gray = error(x.mean((0, 2, 3), keepdim=True), x)
    attack, client = replace(PLAIN, steps=60), mixing_client()
    clear = whitebox_view(client, x)
    drowned = whitebox_view(
        client, x, release=lambda v: client(v) + 5 * torch.randn(len(v), 12, 8, 8, generator=noise)
    )
    assert error(attack.run(clear, rng=Stream(1)).images, x) < 0.2 * gray
    assert error(attack.run(drowned, rng=Stream(1)).images, x) > gray


def test_targets_stop_when_their_own_loss_stands_still() -> None:
    view = whitebox_view(conv_client(), digits(4))
    attack = replace(PLAIN, tv_weight=0.1, width=4, window=30)
    early, whole = (replace(attack, window=w).run(view, rng=Stream(1)) for w in (30, 0))
    assert early.diagnostics["steps"] < whole.diagnostics["steps"] == 200
    assert early.curve[200] == pytest.approx(whole.curve[200], rel=0.1)
    assert torch.equal(early.trace[200], early.images)


def test_it_rehearses_its_smoothing_and_draws_images_alone() -> None:
    attack = replace(PLAIN, steps=2, width=4, tv_weight=None)
    view = whitebox_view(conv_client(), digits(2), aux=digits(60)[20:])
    tuned = rehearsed(attack, view, rng=Stream(1)).tuned
    assert set(tuned) == {"tv_weight"}
    assert tuned["tv_weight"] in TV_WEIGHTS
    assert attack.rehearses
    assert not PLAIN.rehearses
    for shape in ((1, 40), (7,), (1, 4, 8)):
        task = Task(input_shape=shape, smashed_shape=(4,), classes=2)
        assert "at least 8x8" in (PLAIN.refuses(task) or "")
    assert PLAIN.refuses(view.task) is None
