"""Losses with a gradient agree with the metrics that judge."""

import pytest
import torch

from sltoolkit.metrics.image import mse, ssim
from sltoolkit.metrics.losses import LOSSES, dissimilarity, objectives, reconstruction_error

SHAPES = [(7, 1, 28, 28), (3, 3, 32, 17), (2, 1, 11, 11), (1, 2, 40, 61)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_of_ssim_is_one_minus_ssim(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=g, dtype=dtype)
    guess = (x + torch.rand(shape, generator=g, dtype=dtype)) / 2
    if len(shape) == 4:
        guess = guess.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        1 - dissimilarity(guess, x).double(), ssim(guess, x), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        LOSSES["both"](guess, x).double(), 1 - ssim(guess, x) + mse(guess, x), atol=1e-6, rtol=0
    )


def test_its_gradient_is_that_of_finite_differences() -> None:
    g = torch.Generator().manual_seed(0)
    x, guess = torch.rand(2, 2, 1, 12, 13, generator=g, dtype=torch.float64).unbind()
    for loss in LOSSES.values():
        assert torch.autograd.gradcheck(lambda v, f=loss: f(v, x), guess.requires_grad_())


def test_a_constant_image_and_the_truth_itself_have_finite_gradients() -> None:
    x = torch.rand(2, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    for guess in (torch.full_like(x, 0.5), x.clone(), torch.zeros_like(x)):
        leaf = guess.requires_grad_()
        dissimilarity(leaf, x).sum().backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


def test_objectives_follow_the_primary_metric() -> None:
    assert objectives((1, 28, 28)) == objectives((3, 11, 40)) == ("both", "mse", "ssim")
    for shape in ((1, 10, 28), (2, 187), (14,)):
        assert objectives(shape) == ("mse",)


def test_an_error_of_own_samples_is_judged_as_the_referee_judges() -> None:
    x = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    guess = x + 0.3
    torch.testing.assert_close(reconstruction_error(guess, x), 1 - ssim(guess.clamp(0, 1), x))
    features = x.flatten(1)
    torch.testing.assert_close(
        reconstruction_error(features + 2, features), mse(features + 2, features)
    )
