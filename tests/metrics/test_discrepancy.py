"""MK-MMD against its closed form for Gaussians, a plain double sum, and its symmetries."""

import math

import pytest
import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import mk_mmd

pytestmark = pytest.mark.golden


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def closed_form(s: float, v: float, delta: float) -> float:
    """Two 1-D Gaussians of variance v, delta apart, one Gaussian kernel of bandwidth s."""
    wide = s**2 + 2 * v
    return 2 * s / math.sqrt(wide) * (1 - math.exp(-(delta**2) / (2 * wide)))


@pytest.mark.parametrize(("s", "v", "delta"), [(1.0, 1.0, 1.0), (0.5, 2.0, 1.5), (2.0, 0.5, 0.0)])
def test_it_is_the_closed_form_for_two_gaussians(s: float, v: float, delta: float) -> None:
    if (s, v, delta) == (1.0, 1.0, 1.0):
        assert closed_form(s, v, delta) == pytest.approx(0.17727, abs=5e-6)
    estimates = []
    for seed in range(20):
        a, b = normal(300, 1, seed=2 * seed), normal(300, 1, seed=2 * seed + 1)
        estimates.append(mk_mmd(a * v**0.5, b * v**0.5 + delta, bandwidths=[s]))
    found = torch.stack(estimates)
    error = float(found.std()) / 20**0.5
    assert float(found.mean()) == pytest.approx(closed_form(s, v, delta), abs=4 * error)
    assert error < 0.01


def test_the_biased_one_is_zero_for_identical_samples_and_the_unbiased_one_below() -> None:
    z = normal(9, 4, 2)
    assert float(mk_mmd(z, z, unbiased=False)) == pytest.approx(0, abs=1e-12)
    assert float(mk_mmd(z, z)) < 0


@pytest.mark.parametrize("unbiased", [True, False])
def test_it_is_the_double_sum_over_all_kernels(unbiased: bool) -> None:
    a, b = normal(5, 3), normal(7, 3, seed=1) + 0.5
    both = torch.cat([a, b])
    mean = torch.stack([(p - q).square().sum() for p in both for q in both]).mean()

    def k(p: Tensor, q: Tensor) -> Tensor:
        squares = [2.0**j * mean for j in range(-3, 2)]
        return torch.stack([torch.exp(-(p - q).square().sum() / (2 * s)) for s in squares]).sum()

    def within(x: Tensor) -> Tensor:
        pairs = [
            k(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j or not unbiased
        ]
        return torch.stack(pairs).mean()

    across = torch.stack([k(p, q) for p in a for q in b]).mean()
    expected = within(a) + within(b) - 2 * across
    torch.testing.assert_close(mk_mmd(a, b, unbiased=unbiased), expected)


def test_more_kernels_add_up() -> None:
    a, b = normal(6, 3), normal(6, 3, seed=1)
    parts = [mk_mmd(a, b, bandwidths=[s]) for s in (0.5, 2.0)]
    torch.testing.assert_close(mk_mmd(a, b, bandwidths=[0.5, 2.0]), parts[0] + parts[1])


def test_it_is_symmetric_and_blind_to_a_common_shift_and_to_scale() -> None:
    a, b = normal(8, 3), normal(8, 3, seed=1) * 2
    torch.testing.assert_close(mk_mmd(a, b), mk_mmd(b, a))
    torch.testing.assert_close(mk_mmd(a, b), mk_mmd(3 * a + 1e4, 3 * b + 1e4))


def test_no_gradient_flows_through_the_bandwidth() -> None:
    a, b = normal(6, 3).requires_grad_(), normal(6, 3, seed=1)
    (adaptive,) = torch.autograd.grad(mk_mmd(a, b), a)
    both = torch.cat([a, b]).detach()
    mean = torch.cdist(both, both).square().mean()
    fixed = [float((2.0**j * mean).sqrt()) for j in range(-3, 2)]
    (held,) = torch.autograd.grad(mk_mmd(a, b, bandwidths=fixed), a)
    torch.testing.assert_close(adaptive, held)
    assert torch.autograd.gradcheck(lambda x: mk_mmd(x, b, bandwidths=[1.0]), (a,))


def test_points_that_are_all_the_same_are_no_error() -> None:
    z = torch.ones(4, 3, requires_grad=True)
    loss = mk_mmd(z, torch.ones(4, 3), unbiased=False)
    loss.backward()
    assert float(loss.detach()) == 0
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


@pytest.mark.parametrize("other", [(4, 5), (1, 3)])
def test_what_cannot_be_compared_is_refused(other: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="at least 2 points of one size"):
        mk_mmd(normal(4, 3), normal(*other))
