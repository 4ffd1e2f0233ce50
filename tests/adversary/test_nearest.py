"""Nearest samples: ties, shapes, and units that never vary."""

import numpy as np
import pytest
import torch

from sltoolkit.adversary.nearest import DISTANCES, Distance, nearest


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)], ids=["vector", "signal", "map"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_maps_and_signals_are_compared_as_the_vectors_they_hold(
    distance: Distance, shape: tuple[int, ...]
) -> None:
    z, own = drawn(5, *shape), drawn(9, *shape, seed=1)

    found, least = nearest(z, own, distance)
    flat, flat_least = nearest(z.flatten(1), own.flatten(1), distance)

    assert torch.equal(found, flat)
    assert torch.equal(least, flat_least)


def test_of_equals_the_first_is_taken() -> None:
    own = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])

    found, least = nearest(torch.tensor([[1.0, 0.0]]), own)

    assert found.tolist() == [0]
    assert least.tolist() == [0.0]


def test_a_single_own_sample_is_everybodys_nearest() -> None:
    found, _ = nearest(drawn(4, 3), drawn(1, 3, seed=1))

    assert found.tolist() == [0, 0, 0, 0]


def test_the_cosine_ignores_lengths_and_the_euclidean_distance_does_not() -> None:
    z = torch.tensor([[4.0, 4.0]])
    own = torch.tensor([[4.0, 3.0], [0.1, 0.1]])

    assert nearest(z, own, "cosine")[0].item() == 1
    assert nearest(z, own, "euclidean")[0].item() == 0


def test_the_standardized_distance_is_scipys() -> None:
    from scipy.spatial.distance import cdist

    z, own = drawn(6, 4), drawn(20, 4, seed=1) * torch.tensor([1.0, 10.0, 0.1, 3.0]).double()

    expected = cdist(z, own, "seuclidean", V=np.var(own.numpy(), axis=0))
    found, least = nearest(z, own, "standardized")

    np.testing.assert_array_equal(found, expected.argmin(1))
    np.testing.assert_allclose(least, expected.min(1), rtol=1e-10)
