"""Image metrics against scikit-image, hand-computed anchors and known bugs of other toolkits."""

from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config
from skimage.metrics import structural_similarity
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import mse, mse_affine, psnr_db, ssim
from sltoolkit.metrics.image import MSE_FLOOR

pytestmark = pytest.mark.golden


def reference_ssim(x: Tensor, y: Tensor, **options: Any) -> Tensor:
    """scikit-image in a loop, in float64; its Gaussian setting unless told otherwise."""
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    settings = {"data_range": 1.0, "channel_axis": 0} | (options or gaussian)
    pairs = zip(x.double().numpy(), y.double().numpy(), strict=True)
    values = [structural_similarity(a, b, **settings) for a, b in pairs]
    return torch.tensor(np.array(values))


def ramp() -> Tensor:
    """(1, 3, 32, 32): channels x, y and their mean."""
    line = torch.linspace(0, 1, 32, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, (x + y) / 2])[None]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "shape",
    [
        (7, 1, 28, 28),
        (5, 3, 32, 32),
        (3, 2, 11, 40),
        (2, 3, 64, 17),
        (1, 2, 34, 35),
        (1, 1, 300, 300),
        (1, 1, 11, 11),
        (90, 1, 28, 28),
    ],
)
@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_ssim_is_scikit_images(shape: tuple[int, ...], noise: float) -> None:
    y = images(*shape)
    x = (y + noise * images(*shape, seed=1)).clamp(0, 1)
    torch.testing.assert_close(ssim(x, y), reference_ssim(x, y), rtol=0, atol=1e-6)


def test_ssim_keeps_its_precision_on_flat_bright_images() -> None:
    """Mean of squares minus squared mean cancels here; float32 would miss by over 1e-6."""
    y = 0.95 + 1e-3 * images(8, 1, 28, 28)
    x = y + 1e-3 * images(8, 1, 28, 28, seed=1)
    torch.testing.assert_close(ssim(x, y), reference_ssim(x, y), rtol=0, atol=1e-6)


def test_ssim_of_the_ramp_has_the_published_values() -> None:
    flat = torch.full_like(ramp(), 0.5)
    assert ssim(ramp(), flat).item() == pytest.approx(0.3066, abs=5e-5)
    assert ssim(ramp(), ramp() + 0.1).item() == pytest.approx(0.9747, abs=5e-5)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"win_size": 7}, 0.1936),
        ({"gaussian_weights": True, "use_sample_covariance": False, "data_range": 2.0}, 0.6068),
        ({"gaussian_weights": True, "use_sample_covariance": False, "data_range": 255.0}, 0.9950),
    ],
    ids=["default window", "data range 2", "data range 255"],
)
def test_ssim_is_none_of_the_common_mistakes(options: dict[str, Any], value: float) -> None:
    flat = torch.full_like(ramp(), 0.5)
    mistaken = reference_ssim(ramp(), flat, **options)
    assert mistaken.item() == pytest.approx(value, abs=5e-5)
    assert abs(ssim(ramp(), flat) - mistaken).item() > 0.1


def test_ssim_does_not_average_the_padded_border() -> None:
    """An implementation that pads and averages the whole map gives .9432 here."""
    assert abs(ssim(ramp(), ramp() + 0.1).item() - 0.9432) > 0.03


def test_ssim_of_identical_images_is_one_and_it_is_symmetric() -> None:
    x, y = images(4, 3, 32, 32), images(4, 3, 32, 32, seed=1)
    torch.testing.assert_close(ssim(x, x), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))


def test_ssim_leaves_its_inputs_alone_and_does_not_mix_targets() -> None:
    x, y = images(30, 3, 32, 32).double(), images(30, 3, 32, 32, seed=1).double()
    before = x.clone(), y.clone()
    whole = ssim(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    alone = torch.cat([ssim(x[i : i + 1], y[i : i + 1]) for i in range(30)])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-12)


def test_ssim_measures_what_still_carries_a_gradient() -> None:
    x, y = images(2, 1, 16, 16), images(2, 1, 16, 16, seed=1)
    assert torch.equal(ssim(x.clone().requires_grad_(), y), ssim(x, y))


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 1, 10, 28), (2, 1, 28, 10)])
def test_ssim_refuses_images_smaller_than_its_window(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"at least 11 pixels.*use mse"):
        ssim(images(*shape), images(*shape))


def test_psnr_of_a_tenth_off_is_20_db() -> None:
    assert psnr_db(ramp(), ramp() + 0.1).item() == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize(
    ("error", "db"), [(0.0228, 16.42), (0.0081, 20.92), (0.005, 23.01), (0.05, 13.01)]
)
def test_psnr_of_published_errors(error: float, db: float) -> None:
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    y = torch.full_like(x, error**0.5)
    assert mse(x, y).item() == pytest.approx(error)
    assert psnr_db(x, y).item() == pytest.approx(db, abs=5e-3)


def test_psnr_assumes_a_peak_of_1() -> None:
    """The bug of a peak of 255 on [0, 1] images adds 20 log10(255) = 48.13 dB."""
    x, y = images(1, 3, 8, 8), images(1, 3, 8, 8, seed=1)
    mistaken = 10 * torch.log10(255**2 / mse(x, y))
    assert (mistaken - psnr_db(x, y)).item() == pytest.approx(48.13, abs=5e-3)


def test_psnr_of_identical_images_is_the_documented_100_db() -> None:
    x = images(3, 1, 8, 8)
    assert psnr_db(x, x).tolist() == pytest.approx([100.0] * 3)
    assert MSE_FLOOR == 1e-10


def test_mean_of_psnr_is_above_psnr_of_mean() -> None:
    y = images(16, 1, 8, 8)
    x = y + torch.linspace(0.01, 0.5, 16)[:, None, None, None]
    of_mean = -10 * mse(x, y).mean().log10()
    assert psnr_db(x, y).mean() > of_mean + 3


def test_mse_averages_over_everything_but_the_targets() -> None:
    x, y = images(5, 3, 7, 9), images(5, 3, 7, 9, seed=1)
    expected = [((a - b) ** 2).mean() for a, b in zip(x.double(), y.double(), strict=True)]
    torch.testing.assert_close(mse(x, y), torch.stack(expected))


def test_mse_takes_features() -> None:
    assert mse(torch.zeros(2, 3), torch.tensor([[0.0, 0, 3], [1, 1, 1]])).tolist() == [3.0, 1.0]


@pytest.mark.parametrize("metric", [mse, psnr_db, ssim])
def test_a_diverged_reconstruction_is_nan_and_spoils_no_other_target(metric: Any) -> None:
    x, y = images(3, 1, 16, 16), images(3, 1, 16, 16, seed=1)
    clean = metric(x, y)
    x[1, 0, 8, 8] = torch.nan
    spoiled = metric(x, y)
    assert spoiled[1].isnan()
    torch.testing.assert_close(spoiled[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("metric", [mse, psnr_db, ssim])
@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (1, 3, 16, 16), (0, 3, 16, 16)])
def test_other_shapes_are_refused_rather_than_broadcast(
    metric: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the run-time shape check of the tests, as a user has it."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    other = images(*shape) if shape[0] == 0 else images(2, 3, 16, 16)
    with pytest.raises(SpecError, match="same shape"):
        metric(images(*shape), other)


@pytest.mark.parametrize("shape", [(6, 3, 9, 8), (5, 1, 1, 40), (4, 20)])
def test_mse_affine_is_the_residual_of_least_squares(shape: tuple[int, ...]) -> None:
    x, y = images(*shape), images(*shape, seed=1)
    expected = []
    for a, b in zip(x.double().flatten(1).numpy(), y.double().flatten(1).numpy(), strict=True):
        design = np.stack([a, np.ones_like(a)], 1)
        best = np.linalg.lstsq(design, b, rcond=None)[0]
        expected.append(np.square(design @ best - b).mean())
    torch.testing.assert_close(mse_affine(x, y), torch.tensor(np.array(expected)))
    assert (mse_affine(x, y) < mse(x, y)).all()


def test_mse_affine_forgives_contrast_brightness_and_sign_alone() -> None:
    y = images(4, 3, 8, 8).double()
    gains = torch.tensor([2.0, -0.1, 1e-3, -30.0], dtype=torch.float64).reshape(4, 1, 1, 1)
    assert mse_affine(gains * y - 0.7, y).max() < 1e-20
    channel_by_channel = y * torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64).reshape(3, 1, 1)
    assert mse_affine(channel_by_channel, y).min() > 1e-3
    assert mse_affine(y.flip(3), y).min() > 1e-3


def test_mse_affine_of_a_constant_guess_is_the_variance() -> None:
    y = images(4, 3, 8, 8).double()
    variance = y.flatten(1).var(1, correction=0)
    for value in (0.0, 0.1, 1e6):
        torch.testing.assert_close(mse_affine(torch.full_like(y, value), y), variance)
    assert mse_affine(y, torch.full_like(y, 0.3)).max() < 1e-30
