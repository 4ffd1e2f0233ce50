"""What optimization attacks share: total variation, early stopping, the batched descent."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sltoolkit.adversary import memory
from sltoolkit.adversary.descended import snapshots
from sltoolkit.adversary.descent import Descent, Turn, constant, cosine, squared_error
from sltoolkit.adversary.plateau import Plateau, keep_rows
from sltoolkit.adversary.total_variation import total_variation
from sltoolkit.errors import SpecError
from sltoolkit.progress import advance, part, watch

pytestmark = pytest.mark.golden


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def written_out(image: Tensor, beta: int) -> float:
    """The definition of the total variation, pixel by pixel, for one channel (H, W)."""
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
    with pytest.raises(SpecError, match="no neighbors"):
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


def bowls(goal: Tensor, pace: Tensor) -> Callable[[list[Tensor], Tensor], Tensor]:
    """Half of each target's squared distance to its goal, times a steepness of its own."""

    def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
        return pace[rows] * (leaves[0] - goal[rows]).square().sum(1) / 2

    return objective


def test_plain_descent_follows_its_closed_form_for_every_target_and_chunk() -> None:
    goal = torch.rand(5, 3, generator=seeded(3)).double()
    pace = torch.linspace(0.1, 1, 5).double()
    how = Descent(steps=7, rate=constant(0.5), optimizer=torch.optim.SGD, chunk=2)
    found = how.run(bowls(goal, pace), [torch.zeros(5, 3).double()])
    left = (1 - 0.5 * pace[:, None]) ** 7
    assert torch.allclose(found.leaves[0], goal * (1 - left))
    assert torch.allclose(found.loss, pace * (goal * left).square().sum(1) / 2)
    assert sorted(found.trace) == snapshots(7) == [1, 2, 4, 7]
    early = (1 - 0.5 * pace[:, None]) ** 4
    assert torch.allclose(found.trace[4], goal * (1 - early))
    assert torch.equal(found.trace[7], found.leaves[0])
    assert torch.allclose(found.curve[4], pace * (goal * early).square().sum(1) / 2)
    assert torch.equal(found.curve[7], found.loss)


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_who_arrives_leaves_the_batch_and_nobody_else_notices(chunk: int) -> None:
    goal, pace = torch.rand(8, 3, generator=seeded(4)), torch.linspace(0.01, 1, 8)
    sizes: list[int] = []
    inner = bowls(goal, pace)

    def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        floor: Tensor = inner(leaves, rows) + 0.01
        return floor

    start = [torch.zeros(8, 3)]
    how = Descent(steps=400, rate=constant(0.3), optimizer=torch.optim.SGD, window=20, chunk=chunk)
    found = how.run(objective, start)
    assert found.steps.min() < found.steps.max()
    assert sum(sizes) < 8 * 400
    assert 0 < min(sizes) <= max(sizes) <= chunk
    for row, steps in enumerate(found.steps.tolist()):
        alone = Descent(steps=steps, rate=constant(0.3), optimizer=torch.optim.SGD).run(
            bowls(goal[[row]], pace[[row]]), [torch.zeros(1, 3)]
        )
        assert torch.equal(found.leaves[0][row], alone.leaves[0][0])
        assert float(found.loss[row]) == pytest.approx(float(alone.loss[0]) + 0.01)


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_leaves_that_take_turns_follow_their_own_losses_to_the_closed_form(chunk: int) -> None:
    goal = torch.rand(5, 3, generator=seeded(3)).double()
    pace = torch.linspace(0.1, 1, 5).double()

    def apart(leaves: list[Tensor], rows: Tensor) -> Tensor:
        """How far the first leaf is from its goal, and the second one from the first."""
        x, y = leaves
        return ((x - goal[rows]).square() + (y - x).square()).sum(1) / 2

    def chase(leaves: list[Tensor], rows: Tensor) -> Tensor:
        return (leaves[1] - leaves[0]).square().sum(1) / 2

    how = Descent(steps=9, rate=constant(0.5), optimizer=torch.optim.SGD, chunk=chunk)
    found = how.run(
        apart, [torch.zeros(5, 3).double()] * 2,
        turns=[
            Turn(objective=bowls(goal, pace), leaves=slice(0, 1), steps=2),
            Turn(objective=chase, leaves=slice(1, None), steps=3),
        ],
    )  # fmt: skip
    x, y = torch.zeros(5, 3).double(), torch.zeros(5, 3).double()
    for step in range(1, 10):
        x = goal + (x - goal) * (1 - 0.5 * pace[:, None]) ** 2
        y = x + (y - x) * 0.5**3
        assert torch.allclose(found.curve[step], apart([x, y], torch.arange(5)))
        if step in snapshots(9):
            assert torch.allclose(found.trace[step], x)
    assert list(found.curve) == list(range(1, 10))
    assert torch.allclose(found.leaves[0], x)
    assert torch.allclose(found.leaves[1], y)


def test_who_arrives_between_turns_keeps_what_it_has() -> None:
    goal, pace = torch.rand(8, 3, generator=seeded(4)), torch.linspace(0.01, 1, 8)
    sizes: list[int] = []

    def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        floor: Tensor = bowls(goal, pace)(leaves, rows) + 0.01
        return floor

    turns = [Turn(objective=objective, leaves=slice(0, 1), steps=4)]
    how = Descent(steps=60, rate=constant(0.3), optimizer=torch.optim.SGD, window=3)
    found = how.run(objective, [torch.zeros(8, 3)], turns=turns)
    assert found.steps.min() < found.steps.max()
    assert min(sizes) < max(sizes[2:]) == 8
    for row, steps in enumerate(found.steps.tolist()):
        alone = Descent(steps=4 * steps, rate=constant(0.3), optimizer=torch.optim.SGD).run(
            bowls(goal[[row]], pace[[row]]), [torch.zeros(1, 3)]
        )
        assert torch.equal(found.leaves[0][row], alone.leaves[0][0])


def test_a_cosine_starts_at_the_rate_and_ends_at_zero() -> None:
    rate = cosine(0.2, 10)
    assert rate(0) == 0.2
    assert rate(5) == pytest.approx(0.1)
    assert rate(10) == pytest.approx(0)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_squared_error_and_its_gradient_are_autograds(weighted: bool) -> None:
    guess = torch.randn(3, 4, 2, 2, generator=seeded(5)).double().requires_grad_(True)
    z = torch.randn(3, 4, 2, 2, generator=seeded(6)).double()
    weights = torch.rand(3, 4, 1, 1, generator=seeded(7)).double() if weighted else None
    plain = (guess - z).square() * (1 / 16 if weights is None else weights)
    error, expected = squared_error(guess, z, weights), plain.flatten(1).sum(1)
    assert torch.allclose(error, expected)
    pull = torch.rand(3, generator=seeded(8)).double()
    slopes = [torch.autograd.grad(e @ pull, guess)[0] for e in (error, expected)]
    assert torch.allclose(slopes[0], slopes[1])


def test_a_watcher_hears_each_per_cent_of_nested_parts_once() -> None:
    heard: list[int] = []
    advance(1, 1)  # without a watcher
    with watch(lambda done, total: heard.append(done)):
        with part(0.5):
            for number in range(2):
                with part(1 / (2 - number)):
                    advance(1, 2)
                    advance(1, 2)
        advance(1, 5)
    assert heard == [12, 25, 37, 50, 60, 100]


def test_as_many_descend_at_once_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = torch.rand(9, 50, generator=seeded(0))
    shared = torch.rand(50, 50, generator=seeded(1))  # 10 kB that all targets share
    together = []

    def objective(leaves: list[Tensor], rows: Tensor) -> Tensor:
        together.append(len(rows))
        return squared_error(leaves[0] @ shared, truth[rows] @ shared, None)

    def descend(budget: int) -> Tensor:
        together.clear()
        monkeypatch.setattr(memory, "CPU_BUDGET", budget)
        how = Descent(steps=5, rate=constant(0.1))
        return how.run(objective, [torch.zeros(9, 50)]).leaves[0]

    whole = descend(2**30)
    assert together[2:] == [9] * 6  # after measuring one and two targets: 5 steps, and the end
    # a target's leaf has 200 bytes, its optimizer 800, its graph less than 4,000
    few = descend(12_000)
    assert 2 <= max(together[2:]) <= 5
    torch.testing.assert_close(few, whole)
    alone = descend(1)
    assert set(together[2:]) == {1}
    torch.testing.assert_close(alone, whole)
