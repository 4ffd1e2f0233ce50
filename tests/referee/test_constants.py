"""The best constant guess for a metric, against closed forms and on real data."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import sltoolkit as sl
from sltoolkit.contracts.defense import Task
from sltoolkit.data.samples import Samples
from sltoolkit.metrics.registry import METRICS, Metric
from sltoolkit.referee.baselines import class_mean, constant_guesses
from sltoolkit.referee.constants import MOST, best_class_constants, best_constant, optimized

pytestmark = [pytest.mark.golden, pytest.mark.full_length]

SSIM, AFFINE, PSNR = (METRICS[name] for name in ("ssim", "mse_affine", "psnr_db"))


def samples(x: Tensor, y: Tensor | None = None) -> Samples:
    y = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    rows = torch.arange(len(x))
    return Samples(x=x, y=y, ids=rows, groups=rows)


def mean_of(metric: Metric, guess: Tensor, x: Tensor) -> float:
    return float(metric.function(guess.expand_as(x), x).mean())


def test_the_mean_is_left_to_the_squared_error_alone() -> None:
    assert [name for name, m in METRICS.items() if name == "mse" and optimized(m)] == []
    assert all(optimized(metric) for metric in (SSIM, AFFINE, PSNR))


def test_the_affine_error_is_least_for_the_first_principal_pattern() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(300, 1, 8, 8, generator=g) * torch.linspace(0.1, 1, 64).reshape(1, 8, 8)
    v = x.double().flatten(1) - x.double().flatten(1).mean(1, keepdim=True)
    largest = torch.linalg.eigvalsh(v.T @ v / len(v))[-1]
    least = float((v.square().sum(1).mean() - largest) / 64)
    found = mean_of(AFFINE, best_constant(samples(x), AFFINE, bounded=True), x)
    assert least <= found < 1.01 * least
    assert found < mean_of(AFFINE, x.mean(0, keepdim=True), x)


def test_of_two_values_psnr_takes_the_one_that_is_exact_more_often() -> None:
    # the mean of dB rewards an exact guess; the mean image, .2 to .3 off, has no exact one
    x = torch.tensor([0.2, 0.2, 0.2, 0.8, 0.8]).reshape(5, 1, 1, 1).expand(5, 1, 4, 4)
    found = best_constant(samples(x), PSNR, bounded=True)
    assert mean_of(PSNR, found, x) > mean_of(PSNR, x.mean(0, keepdim=True), x) + 5


def test_features_of_any_scale_have_a_constant_too() -> None:
    x = 1e3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) + 7e3
    found = best_constant(samples(x), AFFINE, bounded=False)
    assert bool(found.isfinite().all())
    assert mean_of(AFFINE, found, x) <= mean_of(AFFINE, x.mean(0, keepdim=True), x)


def test_a_class_without_samples_keeps_what_it_starts_from() -> None:
    x = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    aux = samples(x, torch.arange(20) % 2)
    means = class_mean(aux, torch.arange(3))
    found = best_class_constants(aux, means, SSIM, bounded=True)
    torch.testing.assert_close(found[2], means[2])
    assert not torch.equal(found[0], means[0])


def test_the_order_of_the_samples_does_not_choose_which_ones_count() -> None:
    dark, bright = torch.full((MOST, 1, 1, 3), 0.1), torch.full((MOST, 1, 1, 3), 0.9)
    likes_bright = best_constant(samples(torch.cat([dark, bright, bright])), PSNR, bounded=True)
    # the first ones alone are dark
    assert mean_of(PSNR, likes_bright, bright) > mean_of(PSNR, likes_bright, dark) + 15


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_an_image_optimized_for_ssim_beats_the_mean_on_images_it_has_not_seen(
    name: str, shared_data: Path
) -> None:
    data = sl.data.load(name, train=200, holdout=50, aux=600, root=shared_data)
    fresh = data.private_train
    task = Task(input_shape=data.shape, smashed_shape=(1,), classes=10)
    found = constant_guesses(data.aux, len(fresh), fresh.y, task)["ssim"]
    mean, per_class = data.aux.x.mean(0, keepdim=True), class_mean(data.aux, fresh.y)
    assert mean_of(SSIM, found["best_constant"], fresh.x) > mean_of(SSIM, mean, fresh.x) + 0.03
    known = mean_of(SSIM, found["best_class_constant"], fresh.x)
    assert known > mean_of(SSIM, per_class, fresh.x) + 0.02
