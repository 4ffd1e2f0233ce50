"""Total variation by hand, and its invariances."""

import math

import pytest
import torch

from sltoolkit.adversary.total_variation import has_neighbors, total_variation
from sltoolkit.errors import SpecError

BETAS = pytest.mark.parametrize("beta", [1, 2])


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_an_edge_costs_its_height_per_pixel_beside_it() -> None:
    edge = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    edge[..., 2:] = 0.5  # one column of four pixels sees the difference

    assert total_variation(edge, beta=2).item() == pytest.approx(4 * 0.25 / 16)
    rough = total_variation(edge, beta=1).item()
    assert rough == pytest.approx((4 * math.sqrt(0.25 + 1e-6) + 12 * 1e-3) / 16)


@BETAS
def test_targets_are_measured_one_by_one(beta: int) -> None:
    x = drawn(5, 3, 6, 7)

    together = total_variation(x, beta=beta)

    assert together.shape == (5,)
    for i in range(5):
        torch.testing.assert_close(total_variation(x[i : i + 1], beta=beta)[0], together[i])


@BETAS
def test_brightness_and_transposing_change_nothing_and_channels_are_averaged(beta: int) -> None:
    x = drawn(2, 3, 5, 5)

    plain = total_variation(x, beta=beta)

    torch.testing.assert_close(total_variation(x + 0.3, beta=beta), plain)
    torch.testing.assert_close(total_variation(x.mT, beta=beta), plain)
    channels = torch.stack([total_variation(x[:, c : c + 1], beta=beta) for c in range(3)])
    torch.testing.assert_close(channels.mean(0), plain)


@BETAS
def test_a_single_pixel_has_nothing_to_vary(beta: int) -> None:
    flat = total_variation(drawn(1, 1, 1, 1), beta=beta).item()

    assert flat == pytest.approx(0.0 if beta == 2 else 1e-3)


@pytest.mark.parametrize(
    ("shape", "expected"), [((3,), False), ((3, 4), True), ((1, 4, 4), True), ((1, 2, 3, 4), False)]
)
def test_images_and_signals_have_neighbors(shape: tuple[int, ...], *, expected: bool) -> None:
    assert has_neighbors(shape) is expected


@pytest.mark.parametrize("beta", [0, 3, -1])
def test_other_exponents_are_refused(beta: int) -> None:
    with pytest.raises(SpecError, match=f"is 1 or 2, not {beta}"):
        total_variation(drawn(1, 1, 4, 4), beta=beta)
