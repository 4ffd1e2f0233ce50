"""L-BFGS row by row against torch's, which minimizes one function at a time."""

import pytest
import torch
from torch import Tensor

from sltoolkit.adversary.lbfgs import RowwiseLBFGS

pytestmark = pytest.mark.golden

SIZE, MOVES, FREQUENCY = 6, 40, {2: 2.0, 3: 1.6}


def terms(x: Tensor, row: int) -> Tensor:
    """A bowl, a valley and two landscapes of waves, from points (..., SIZE) to values (...)."""
    weights = torch.logspace(0, 1.5, SIZE, dtype=x.dtype)
    if row == 0:
        return (weights * x.square()).sum(-1) / 2
    if row == 1:
        steep = (x[..., 1:] - x[..., :-1].square()).square()
        return ((1 - x[..., :-1]).square() + 3 * steep).sum(-1)
    return (0.05 * x.square() - (FREQUENCY[row] * x + 0.3).cos()).sum(-1)


def gradient(points: Tensor, rows: list[int]) -> Tensor:
    x = points.detach().requires_grad_()
    loss = torch.stack([terms(x[i], row) for i, row in enumerate(rows)]).sum()
    return torch.autograd.grad(loss, x)[0]


def start() -> Tensor:
    points = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    points[2] = 1.4 + 0.1 * points[2]  # near the crest of a wave
    return points


def torchs(row: int, history: int) -> Tensor:
    """The point of torch's optimizer after each of its moves, (MOVES, SIZE)."""
    x = start()[row].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], lr=1, max_iter=1, history_size=history)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = terms(x, row)
        loss.backward()
        return loss

    way = []
    for _ in range(MOVES):
        optimizer.step(closure)
        way.append(x.detach().clone())
    return torch.stack(way)


@pytest.mark.parametrize("history", [3, 100])
def test_every_row_goes_torchs_way(history: int) -> None:
    points, way = start(), []
    ours = RowwiseLBFGS(points, history=history)
    for _ in range(MOVES):
        points = points + ours.step(gradient(points, [0, 1, 2, 3]))
        way.append(points)
    found = torch.stack(way, dim=1)
    # from the crest every move multiplies rounding errors by about ten
    for row, moves in enumerate((MOVES, MOVES, 7, MOVES)):
        expected = torchs(row, history)[:moves]
        torch.testing.assert_close(found[row, :moves], expected, rtol=1e-6, atol=1e-6)
    assert gradient(points, [0, 1, 2, 3])[0].abs().max() < 1e-3  # the bowl's bottom


def test_a_step_against_the_curvature_is_not_remembered() -> None:
    points = start()
    ours = RowwiseLBFGS(points)
    for _ in range(3):
        points = points + ours.step(gradient(points, [0, 1, 2, 3]))
    assert ours._met.tolist() == [2, 2, 1, 2]


def test_who_is_left_goes_on_as_before() -> None:
    points, alone = start(), start()[1:2]
    both, one = RowwiseLBFGS(points), RowwiseLBFGS(alone)
    rows = [0, 1, 2, 3]
    for move in range(20):
        points = points + both.step(gradient(points, rows))
        alone = alone + one.step(gradient(alone, [1]))
        if move == 7:
            kept = torch.tensor([False, True, False, True])
            both.keep(kept)
            points, rows = points[kept], [1, 3]
    torch.testing.assert_close(points[:1], alone, rtol=1e-9, atol=1e-12)


def test_flat_and_diverged_rows_stay() -> None:
    ours = RowwiseLBFGS(torch.zeros(3, 2))
    for _ in range(3):
        moved = ours.step(torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [3.0, 1.0]]))
        assert torch.equal(moved[:2], torch.zeros(2, 2))
    assert moved[2].abs().min() > 0
