"""One linear map for all places: shapes, borders and folds."""

import pytest
import torch
from torch import Tensor

from sltoolkit.adversary.local_ridge import LocalRidge


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("features", "outputs"),
    [((3, 4, 4), (1, 8, 8)), ((2, 5, 7), (3, 10, 13)), ((3, 6), (2, 12)), ((2, 7), (1, 7))],
    ids=["map", "odd map", "signal", "signal of the same length"],
)
@pytest.mark.parametrize("targets", [1, 17])
def test_predictions_have_the_shape_of_the_outputs(
    features: tuple[int, ...], outputs: tuple[int, ...], targets: int
) -> None:
    ridge = LocalRidge(drawn(12, 2, *features), drawn(12, *outputs, seed=1), 3)

    assert ridge.predict(drawn(targets, *features, seed=2), 0.1).shape == (targets, *outputs)


def test_a_map_of_every_cell_to_its_block_is_found() -> None:
    g = torch.Generator().manual_seed(0)
    filters = torch.randn(1, 3, 2, 2, generator=g, dtype=torch.float64)
    z = torch.randn(30, 3, 4, 4, generator=g, dtype=torch.float64)
    x = torch.nn.functional.conv_transpose2d(z, filters.transpose(0, 1), stride=2)

    ridge = LocalRidge(z.unsqueeze(1), x, 1)

    torch.testing.assert_close(ridge.predict(z[:4], 1e-12), x[:4], rtol=0, atol=1e-6)
    assert ridge.left_out_error(1e-12) < 1e-12


def test_a_huge_weight_leaves_the_mean_of_every_pixel() -> None:
    outputs = drawn(9, 1, 8, 8, seed=1)
    ridge = LocalRidge(drawn(9, 1, 2, 4, 4), outputs, 3)

    found = ridge.predict(drawn(3, 2, 4, 4, seed=2), 1e12)

    torch.testing.assert_close(found, outputs.mean(0).expand_as(found), rtol=0, atol=1e-8)


def test_the_left_out_error_of_noise_is_least_for_the_mean() -> None:
    ridge = LocalRidge(drawn(40, 1, 2, 4, 4), drawn(40, 1, 4, 4, seed=1), 3)

    errors = [ridge.left_out_error(weight) for weight in (1e-6, 1.0, 1e6)]

    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_fewer_samples_than_folds_do(samples: int) -> None:
    ridge = LocalRidge(drawn(samples, 1, 2, 4, 4), drawn(samples, 1, 4, 4, seed=1), 1)

    assert 0 < ridge.left_out_error(1.0) < 1


def test_a_channel_that_never_varies_says_nothing() -> None:
    features, outputs = drawn(20, 1, 2, 4, 4), drawn(20, 1, 4, 4, seed=1)
    constant = torch.cat([features, torch.full((20, 1, 1, 4, 4), 3.0).double()], 2)
    asked = drawn(3, 2, 4, 4, seed=2)

    with_it = LocalRidge(constant, outputs, 1)
    without = LocalRidge(features, outputs, 1)

    asked_too = torch.cat([asked, torch.full((3, 1, 4, 4), 3.0).double()], 1)
    # the penalty's scale is a mean over features, of which there are 3 in place of 2
    torch.testing.assert_close(with_it.predict(asked_too, 0.15), without.predict(asked, 0.1))
