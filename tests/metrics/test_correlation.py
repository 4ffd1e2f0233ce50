"""Distance correlation against the dcor library, published anchors and known bugs."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from jaxtyping import config
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import distance_correlation, unbiased_distance_correlation

pytestmark = pytest.mark.golden

BOTH = [distance_correlation, unbiased_distance_correlation]
Statistic = Callable[[Tensor, Tensor], Tensor]


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_anchors() -> None:
    x = torch.tensor([0.0, 1, 2, 4, 7, 11])[:, None]
    y = torch.tensor([1.0, 0, 3, 2, 9, 4])[:, None]
    assert distance_correlation(x, y).item() == pytest.approx(0.784110, abs=1e-6)
    assert unbiased_distance_correlation(x, y).item() == pytest.approx(0.690066, abs=1e-6)
    short = x[:4]
    assert distance_correlation(short, short**2).item() == pytest.approx(0.969971, abs=1e-6)


@pytest.mark.parametrize(("n", "p", "q"), [(4, 1, 1), (30, 5, 2), (64, 300, 40)])
def test_equal_to_the_dcor_library(n: int, p: int, q: int, dcor: ModuleType) -> None:
    x = normal(n, p)
    z = x[:, :1].abs() + normal(n, q, seed=1)
    a, b = x.numpy(), z.numpy()
    expected = dcor.distance_correlation(a, b)
    assert distance_correlation(x, z).item() == pytest.approx(expected, abs=1e-10)
    expected = dcor.u_distance_correlation_sqr(a, b)
    assert unbiased_distance_correlation(x, z).item() == pytest.approx(expected, abs=1e-10)


def test_float32_far_from_the_origin_agrees_with_float64() -> None:
    """Distances through |x|^2 + |y|^2 - 2xy in float32 would be noise here."""
    x = (100 + 0.01 * normal(32, 50)).float()
    z = (x - 100) * 3 + 50
    for statistic in BOTH:
        expected = statistic(x.double(), z.double()).item()
        assert statistic(x, z).item() == pytest.approx(expected, abs=1e-6)
        assert statistic(x, z).dtype == torch.float32


def test_sees_a_relation_that_squared_distances_miss(dcor: ModuleType) -> None:
    """For y = x^2 on symmetric x, squared distances give |Pearson r| = 0."""
    x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    with pytest.warns(UserWarning, match="exponent"):
        squared = dcor.distance_correlation(x.numpy(), (x**2).numpy(), exponent=2)
    assert abs(squared) < 1e-3
    assert distance_correlation(x, x**2) > 0.45
    assert unbiased_distance_correlation(x, x**2) > 0.2


@pytest.mark.parametrize("statistic", BOTH)
def test_similar_data_has_correlation_one(statistic: Statistic) -> None:
    x = normal(20, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=1)).Q
    for scale in (1e-6, 1.0, 1e6):
        z = scale * x @ rotation + 3 * scale
        assert statistic(x, z).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("statistic", BOTH)
def test_symmetric_and_invariant_under_joint_permutation_and_shape(statistic: Statistic) -> None:
    x, z = normal(24, 3, 4, 4), normal(24, 10, seed=1)
    value = statistic(x, z).item()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    assert statistic(z, x).item() == pytest.approx(value, abs=1e-12)
    assert statistic(x[order], z[order]).item() == pytest.approx(value, abs=1e-12)
    assert statistic(x.flatten(1), z).item() == pytest.approx(value, abs=1e-12)
    assert abs(statistic(x[order], z).item() - value) > 1e-4


def test_batches_of_independent_images_look_dependent_unless_the_bias_is_removed() -> None:
    n, d = 64, 3072
    pairs = [(normal(n, d, seed=2 * i), normal(n, d, seed=2 * i + 1)) for i in range(10)]
    biased = np.array([distance_correlation(x, z).item() for x, z in pairs])
    unbiased = np.array([unbiased_distance_correlation(x, z).item() for x, z in pairs])
    assert biased.mean() == pytest.approx(0.9974, abs=1e-4)
    assert (abs(unbiased) < 4 * 0.024).all()
    assert abs(unbiased.mean()) < 4 * 0.024 / 10**0.5


def test_gradient_is_right() -> None:
    x, z = normal(8, 3), normal(8, 4, seed=1).requires_grad_()
    torch.autograd.gradcheck(lambda t: distance_correlation(x, t), (z,))


def test_a_step_against_the_gradient_lowers_the_correlation() -> None:
    x = normal(32, 5)
    z = (x + 0.1 * normal(32, 5, seed=1)).requires_grad_()
    before = distance_correlation(x, z)
    (gradient,) = torch.autograd.grad(before, z)
    assert distance_correlation(x, z - 2 * gradient / gradient.norm()) < before - 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_with_duplicate_samples(dtype: torch.dtype) -> None:
    x = normal(10, 20).to(dtype)
    z = (x * 2).clone()
    x[3], z[3] = x[7], z[7]
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(distance_correlation(x, z), z)
    assert gradient.isfinite().all()
    assert gradient.dtype == dtype


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e20])
def test_a_constant_release_carries_nothing(constant: float) -> None:
    x = normal(10, 20).float()
    z = torch.full((10, 3), constant, requires_grad=True)
    value = distance_correlation(x, z)
    (gradient,) = torch.autograd.grad(value, z)
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert not gradient.any()
    assert unbiased_distance_correlation(x, z.detach()).item() == pytest.approx(0, abs=1e-5)


def test_too_few_or_unpaired_samples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="at least 4"):
        unbiased_distance_correlation(normal(3, 2), normal(3, 2))
    with pytest.raises(SpecError, match="at least 2"):
        distance_correlation(normal(1, 2), normal(1, 2))
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(SpecError, match="got 5 and 6"):
        distance_correlation(normal(5, 2), normal(6, 2))
