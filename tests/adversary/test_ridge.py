"""Ridge regression in both forms, and with features that never vary."""

import pytest
import torch
from torch import Tensor

from sltoolkit.adversary.ridge import Ridge


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def solved(features: Tensor, outputs: Tensor, asked: Tensor, penalty: float) -> Tensor:
    """The normal equations, by hand, for one observation per sample."""
    mean, deviation = features.mean(0), features.std(0, correction=0)
    z, center = (features - mean) / deviation, outputs.mean(0)
    gram = z.T @ z + penalty * torch.eye(z.shape[1], dtype=z.dtype)
    w = torch.linalg.solve(gram, z.T @ (outputs - center))
    found: Tensor = (asked - mean) / deviation @ w + center
    return found


@pytest.mark.parametrize(("n", "d"), [(30, 4), (5, 12), (8, 8)], ids=["tall", "wide", "square"])
def test_both_forms_solve_the_normal_equations(n: int, d: int) -> None:
    features, outputs, asked = drawn(n, d), drawn(n, 3, seed=1), drawn(6, d, seed=2)

    ridge = Ridge(features.clone().unsqueeze(1), outputs)
    found = ridge.predict(asked, 0.3)

    torch.testing.assert_close(found, solved(features, outputs, asked, 0.3 * ridge.scale))


def test_a_huge_weight_leaves_the_mean_and_a_tiny_one_a_linear_map() -> None:
    features, asked = drawn(40, 5), drawn(7, 5, seed=2)
    linear = drawn(5, 2, seed=1)
    ridge = Ridge(features.clone().unsqueeze(1), features @ linear + 3)

    mean = (features @ linear + 3).mean(0).expand(7, 2)
    torch.testing.assert_close(ridge.predict(asked, 1e12), mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(ridge.predict(asked, 1e-12), asked @ linear + 3)


def test_a_feature_that_never_varies_says_nothing() -> None:
    features, outputs, asked = drawn(20, 3), drawn(20, 2, seed=1), drawn(4, 3, seed=2)
    constant = torch.cat([features, torch.full((20, 1), 7.0).double()], 1)

    with_it = Ridge(constant.unsqueeze(1), outputs)
    asked_too = torch.cat([asked, drawn(4, 1, seed=3)], 1)
    without = Ridge(features.clone().unsqueeze(1), outputs)

    torch.testing.assert_close(with_it.predict(asked_too, 0.1), without.predict(asked, 0.1))


def test_features_that_all_stand_still_give_the_mean() -> None:
    outputs = drawn(6, 2)

    ridge = Ridge(torch.ones(6, 1, 3, dtype=torch.float64), outputs)

    assert ridge.scale == 1.0
    torch.testing.assert_close(ridge.predict(drawn(2, 3), 0.5), outputs.mean(0).expand(2, 2))


def test_observations_of_one_sample_share_its_output() -> None:
    features, outputs = drawn(10, 3, 4), drawn(10, 2, seed=1)

    together = Ridge(features.clone(), outputs)
    apart = Ridge(features.clone().flatten(0, 1).unsqueeze(1), outputs.repeat_interleave(3, 0))

    asked = drawn(5, 4, seed=2)
    torch.testing.assert_close(together.predict(asked, 0.2), apart.predict(asked, 0.2))


def test_the_error_along_the_axes_is_that_of_all_outputs() -> None:
    ridge = Ridge(drawn(15, 2, 4), drawn(15, 3, seed=1))

    axes = torch.eye(3, dtype=torch.float64)

    assert ridge.left_out_error(0.1, axes) == pytest.approx(ridge.left_out_error(0.1), rel=1e-12)
