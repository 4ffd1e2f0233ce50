"""What optimisation attacks share: total variation, early stopping, the batched descent."""

import pytest
import torch
from torch import Tensor

from sltoolkit.attacks.reconstruction.plateau import Plateau, keep_rows
from sltoolkit.attacks.reconstruction.smoothness import total_variation
from sltoolkit.errors import SpecError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def written_out(image: Tensor, beta: int) -> float:
    """The definition, pixel by pixel, for one channel (H, W)."""
    high, wide = image.shape
    total = 0.0
    for i in range(high):
        for j in range(wide):
            dy = float(image[i + 1, j] - image[i, j]) if i + 1 < high else 0.0
            dx = float(image[i, j + 1] - image[i, j]) if j + 1 < wide else 0.0
            total += (dx**2 + dy**2) ** (beta / 2)
    return total / (high * wide)


@pytest.mark.parametrize("beta", [1, 2])
def test_total_variation_is_its_definition(beta: int) -> None:
    x = torch.rand(3, 1, 5, 7, generator=seeded(0)).double()
    expected = [written_out(image, beta) for image in x[:, 0]]
    assert total_variation(x, beta=beta).tolist() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("beta", [1, 2])
def test_a_signal_varies_as_an_image_of_one_row(beta: int) -> None:
    x = torch.rand(4, 2, 9, generator=seeded(1))
    assert torch.allclose(total_variation(x, beta=beta), total_variation(x[:, :, None], beta=beta))


@pytest.mark.parametrize("beta", [1, 2])
def test_the_gradient_is_finite_at_a_constant_image(beta: int) -> None:
    x = torch.full((2, 1, 4, 4), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(total_variation(x, beta=beta).sum(), x)
    assert torch.equal(slope, torch.zeros_like(x))


def test_features_have_no_total_variation() -> None:
    with pytest.raises(SpecError, match="no neighbours"):
        total_variation(torch.rand(3, 5))
    with pytest.raises(SpecError, match="1 or 2"):
        total_variation(torch.rand(3, 1, 4, 4), beta=3)


def test_a_target_arrives_when_its_own_loss_has_stood_still_for_a_window() -> None:
    plateau = Plateau(window=3, tolerance=0.1)
    falling = [1.0, 0.8, 0.6, 0.4, 0.3, 0.2]
    still = [1.0, 0.8, 0.75, 0.74, 0.73, 0.72]  # a tenth below 0.8 is 0.72: never passed
    lost = [1.0] + [float("nan")] * 5
    moved = [plateau.moving(torch.tensor(step)) for step in zip(falling, still, lost, strict=True)]
    assert torch.stack(moved).T.tolist() == [
        [True] * 6,
        [True, True, True, True, False, False],
        [True, True, True, False, False, False],
    ]


def test_rows_that_are_kept_go_on_as_if_nobody_had_left() -> None:
    goal = torch.rand(5, 3, generator=seeded(2))

    def steps(optimizer: torch.optim.Optimizer, aim: Tensor, count: int) -> None:
        for _ in range(count):
            (x,) = optimizer.param_groups[0]["params"]
            x.grad = 2 * (x.detach() - aim)
            optimizer.step()

    full = torch.zeros(5, 3, requires_grad=True)
    whole = torch.optim.Adam([full], lr=0.1, amsgrad=True)
    steps(whole, goal, 9)
    part = torch.optim.Adam([torch.zeros(5, 3, requires_grad=True)], lr=0.1, amsgrad=True)
    steps(part, goal, 4)
    kept = torch.tensor([3, 0])
    (left,) = keep_rows(part, kept)
    steps(part, goal[kept], 5)
    assert torch.equal(left.detach(), full.detach()[kept])
