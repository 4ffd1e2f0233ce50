"""Critics: the gradient penalty in closed form, the papers' layers, and labels as an input."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import LabelChannel
from sltoolkit.networks.critics import (
    as_real,
    binary_loss,
    feature_critic,
    gradient_penalty,
    image_critic,
    residual_critic,
    wasserstein_loss,
)
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

SHAPES = [(3, 16, 16), (5, 7, 9), (2, 33), (6,)]


def batch(shape: tuple[int, ...], n: int = 4, *, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (3, 5), (7,)])
def test_the_penalty_of_a_linear_critic_is_that_of_its_weights_norm(shape: tuple[int, ...]) -> None:
    w = batch(shape, 1)[0]

    def critic(x: Tensor) -> Tensor:
        return (x * w).flatten(1).sum(1, keepdim=True)

    penalty = gradient_penalty(critic, batch(shape), batch(shape, seed=1))
    torch.testing.assert_close(penalty, (w.norm() - 1) ** 2)


def test_the_penalty_per_channel_is_another_where_there_are_channels() -> None:
    w = torch.ones(4, 3, 3, dtype=torch.float64) / 6  # norm 1 in all, 1/2 per channel

    def critic(x: Tensor) -> Tensor:
        return (x * w).flatten(1).sum(1, keepdim=True)

    ends = batch((4, 3, 3)), batch((4, 3, 3), seed=1)
    assert float(gradient_penalty(critic, *ends)) == pytest.approx(0, abs=1e-12)
    assert float(gradient_penalty(critic, *ends, over="channel")) == pytest.approx(0.25)


def test_the_penalty_is_that_of_points_between_the_pairs_one_share_per_sample() -> None:
    a, b = batch((2, 3)), batch((2, 3), seed=1)

    def critic(x: Tensor) -> Tensor:
        return x.pow(2).flatten(1).sum(1, keepdim=True) / 2  # its gradient is the point itself

    with Stream(3).scope():
        penalty = gradient_penalty(critic, a, b)
    with Stream(3).scope():
        share = torch.rand(4, 1, 1, dtype=torch.float64)
    points = share * a + (1 - share) * b
    expected = torch.stack([(p.norm() - 1) ** 2 for p in points]).mean()
    torch.testing.assert_close(penalty, expected)


def test_the_penalty_teaches_the_critic_and_not_who_made_the_ends() -> None:
    made = batch((6,)).requires_grad_()
    with Stream(0).scope():
        critic = residual_critic((6,), width=8, blocks=1).double()
    gradient_penalty(critic, made, batch((6,), seed=1)).backward()
    assert made.grad is None
    taught = [p.grad is not None and bool(p.grad.any()) for p in critic.parameters() if p.dim() > 1]
    assert all(taught)


def test_a_flat_critic_is_penalized_without_dividing_by_zero() -> None:
    critic = nn.Linear(6, 1, bias=False).double()
    nn.init.zeros_(critic.weight)
    penalty = gradient_penalty(critic, batch((6,)), batch((6,), seed=1))
    penalty.backward()
    assert float(penalty.detach()) == 1.0
    assert critic.weight.grad is not None
    assert bool(critic.weight.grad.isfinite().all())


def test_pairs_of_different_shapes_are_refused() -> None:
    with pytest.raises(SpecError, match="equal shapes"):
        gradient_penalty(nn.Linear(6, 1), batch((6,), 4), batch((6,), 3))


def test_losses_are_those_of_the_papers() -> None:
    real, fake = batch((1,)), batch((1,), seed=1)
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    judged = functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(binary_loss(real, fake), judged(real, ones) + judged(fake, zeros))
    torch.testing.assert_close(as_real(fake), judged(fake, ones))
    torch.testing.assert_close(wasserstein_loss(real, fake), real.mean() - fake.mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_critics_score_maps_signals_and_vectors(shape: tuple[int, ...]) -> None:
    x, y = batch(shape).float(), torch.tensor([0, 1, 2, 0])
    with Stream(0).scope():
        assert residual_critic(shape, width=8, blocks=2)(x).shape == (4, 1)
        assert feature_critic(shape, width=2)(x).shape == (4, 1)
        assert feature_critic(shape, classes=3, width=2)(x, y).shape == (4, 1)
        assert image_critic(shape, classes=3, width=2)(x, y).shape == (4, 1)


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for make in (residual_critic, feature_critic, image_critic):
        with pytest.raises(SpecError, match="shape"):
            make(shape)


def convolutions(network: nn.Module) -> list[tuple[int, ...]]:
    """(in, out, stride) of every convolution, in order."""
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    return [(m.in_channels, m.out_channels, m.stride[0]) for m in found]


def test_fshas_critic_has_the_papers_layers() -> None:
    blocks = [(256, 256, 1)] * 12
    last = [(256, 256, 2)]
    with torch.device("meta"):
        assert convolutions(residual_critic((64, 16, 16))) == [
            (64, 128, 2), (128, 256, 2), *blocks, *last
        ]  # fmt: skip
        assert convolutions(residual_critic((128, 8, 8))) == [(128, 256, 2), *blocks, *last]
        assert convolutions(residual_critic((256, 4, 4))) == [(256, 256, 1), *blocks, *last]
        code = residual_critic((64, 16, 16), shrink=False)
        assert convolutions(code) == [(64, 256, 1), *blocks, *last]
        flat = [m.in_features for m in code.modules() if isinstance(m, nn.Linear)]
        assert flat == [256 * 8 * 8]


def test_sdars_critics_have_the_papers_layers() -> None:
    end = [(256, 256, 1)] * 2 + [(256, 256, 2)]
    with torch.device("meta"):
        assert convolutions(feature_critic((16, 32, 32))) == [
            (16, 32, 1), (32, 64, 2), (64, 128, 2), (128, 256, 1), *end
        ]  # fmt: skip
        assert convolutions(feature_critic((32, 16, 16))) == [
            (32, 64, 1), (64, 128, 2), (128, 256, 1), *end
        ]  # fmt: skip
        assert convolutions(feature_critic((64, 8, 8), classes=10)) == [
            (65, 128, 1), (128, 256, 1), *end
        ]  # fmt: skip
        assert convolutions(image_critic((3, 32, 32), classes=10)) == [
            (4, 64, 1), (64, 128, 2), (128, 128, 2), (128, 256, 2)
        ]  # fmt: skip
        norms = [m for m in feature_critic((64, 8, 8)).modules() if isinstance(m, nn.BatchNorm2d)]
    assert [(m.num_features, m.momentum, m.eps) for m in norms] == [(256, 0.1, 1e-5)] * 3


def test_without_normalization_a_score_is_of_its_own_sample_alone() -> None:
    x = batch((3, 8, 8)).float()
    with Stream(0).scope():
        critic = residual_critic((3, 8, 8), width=8, blocks=1)
    torch.testing.assert_close(critic(x)[:1], critic(x[:1]))


def test_a_label_is_drawn_on_a_channel_of_its_own() -> None:
    with Stream(0).scope():
        drawn = LabelChannel((2, 3, 4), 5)
    x, y = batch((2, 3, 4)).float(), torch.tensor([1, 4, 1, 0])
    out = drawn(x, y)
    assert drawn.out == (3, 3, 4)
    assert torch.equal(out[:, :2], x)
    assert torch.equal(out[0, 2], out[2, 2])
    assert not torch.equal(out[0, 2], out[1, 2])
    weights = {n: tuple(p.shape) for n, p in drawn.named_parameters()}
    assert weights == {"embed.weight": (5, 50), "spread.weight": (12, 50), "spread.bias": (12,)}


def test_labels_are_asked_for_where_they_are_needed_and_nowhere_else() -> None:
    x, y = batch((6,)).float(), torch.tensor([0, 1, 0, 1])
    with Stream(0).scope():
        plain, conditioned = feature_critic((6,), width=2), feature_critic((6,), classes=2, width=2)
    for critic, labels in ((plain, y), (conditioned, None)):
        with pytest.raises(SpecError, match="labels if and only if"):
            critic(x, labels)


def test_untrained_binary_critics_start_near_two_ln_two() -> None:
    with Stream(0).scope():
        critic = image_critic((1, 8, 8), width=4).eval()
    loss = binary_loss(critic(batch((1, 8, 8), 64).float()), critic(batch((1, 8, 8), 64).float()))
    assert float(loss.detach()) == pytest.approx(2 * math.log(2), rel=0.05)
