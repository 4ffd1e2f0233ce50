"""Which targets a grid shows, and its gaps if an attack has no result."""

import pytest
import torch
from support.rows import assert_readable

from sltoolkit.errors import SpecError
from sltoolkit.report.grid import Tiles, grid_figure, ranked


def scores(*values: float) -> torch.Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(("higher_is_better", "chosen"), [(True, [2, 3, 1]), (False, [1, 3, 2])])
def test_best_median_and_worst(higher_is_better: bool, chosen: list[int]) -> None:
    only = [scores(0.2, 0.1, 0.9, 0.5, 0.6)]

    assert ranked(only, higher_is_better=higher_is_better) == chosen


def test_ranks_are_averaged_so_that_no_scale_counts_more() -> None:
    small, large = scores(0.3, 0.2, 0.1), scores(100.0, 300.0, 200.0)

    # mean ranks: (0 + 2) / 2, (1 + 0) / 2, (2 + 1) / 2
    assert ranked([small, large], higher_is_better=True) == [1, 0, 2]


def test_only_targets_with_images_are_chosen() -> None:
    only = [scores(0.1, 0.2, 0.3, 0.4, 0.5)]

    assert ranked(only, higher_is_better=True, kept=3) == [2, 1, 0]
    assert ranked(only, higher_is_better=True, kept=1) == [0, 0, 0]


def test_an_attack_without_a_result_leaves_a_gap() -> None:
    truth = torch.rand(3, 1, 4, 4)
    tiles = [
        Tiles(defense=d, attack=a, images=truth, scores=scores(0.1, 0.2, 0.3))
        for d, a in (("undefended", "decoder"), ("noise", "decoder"), ("undefended", "whitebox"))
    ]

    figure = grid_figure(truth, tiles, [2, 1, 0], "ssim")

    drawn = [bool(axis.images) for axis in figure.axes]
    assert len(drawn) == 3 * 6  # originals and two attacks; three targets under two defenses
    assert drawn.count(False) == 3
    assert drawn[-3:] == [False] * 3


def test_the_figure_says_what_stands_below_the_tiles() -> None:
    truth = torch.rand(2, 1, 4, 4)
    tiles = [Tiles(defense="none", attack="decoder", images=truth, scores=scores(0.1, 0.25))]

    figure = grid_figure(truth, tiles, [1, 0, 0], "psnr_db")

    assert "PSNR/dB" in "".join(text.get_text() for text in figure.texts)
    assert [axis.get_xlabel() for axis in figure.axes[3:]] == ["0.2", "0.1", "0.1"]


def test_best_median_and_worst_are_ranked_in_the_metrics_direction() -> None:
    scores = torch.tensor([0.3, 0.9, 0.1, 0.5])
    assert ranked([scores], higher_is_better=True) == [1, 3, 2]
    assert ranked([scores], higher_is_better=False) == [2, 0, 1]


def test_targets_are_ranked_by_their_mean_rank_over_attacks() -> None:
    # ranks of the four: 0 1 2 3, 1 0 3 2, 0 2 1 3, so on average 1/3, 1, 2, 8/3
    attacks = [[0.9, 0.8, 0.7, 0.6], [0.3, 0.4, 0.1, 0.2], [0.5, 0.3, 0.4, 0.1]]
    scores = [torch.tensor(each) for each in attacks]
    assert ranked(scores, higher_is_better=True) == [0, 1, 3]


def test_only_targets_with_images_are_chosen_by_their_rank_among_all() -> None:
    # the first three have mean ranks 3.5, 1, 2.5 among all five, and 1.5, 0, 1.5 among themselves
    attacks = [[0.2, 0.3, 0.1, 0.5, 0.4], [0.1, 0.5, 0.4, 0.3, 0.2]]
    scores = [torch.tensor(each) for each in attacks]
    assert ranked(scores, higher_is_better=True, kept=3) == [1, 2, 0]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 32)])
def test_a_grid_shows_the_chosen_targets_and_their_scores(shape: tuple[int, ...]) -> None:
    truth = torch.rand(5, *shape)
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.55])
    tiles = [
        Tiles(defense="undefended", attack="decoder", images=truth, scores=scores),
        Tiles(defense="undefended", attack="whitebox", images=truth, scores=scores),
        Tiles(defense="noise", attack="decoder", images=truth, scores=scores),
    ]
    figure = grid_figure(truth, tiles, [4, 2, 0], "ssim")
    grid = [figure.axes[i : i + 6] for i in (0, 6, 12)]
    assert [a.get_xlabel() for a in grid[1]] == ["0.55", "0.30", "0.10"] * 2
    assert [a.get_xlabel() for a in grid[2]] == ["0.55", "0.30", "0.10", "", "", ""]
    assert [a.get_title() for a in grid[0]] == ["best", "median", "worst"] * 2
    assert any("5 targets, by mean rank over all" in t.get_text() for t in figure.texts)
    assert_readable(figure)
    assert [r[0].get_ylabel() for r in grid] == ["original", "decoder", "white box"]
    if len(shape) == 3:
        shown = torch.as_tensor(grid[1][0].images[0].get_array())
        expected = truth[4].permute(1, 2, 0).squeeze(-1)
        torch.testing.assert_close(shown, expected)
        assert not grid[2][3].images


def test_a_grid_of_other_shapes_is_refused() -> None:
    tile = Tiles(defense="d", attack="a", images=torch.rand(2, 1, 8, 8), scores=torch.rand(2))
    with pytest.raises(SpecError, match="shaped as the originals"):
        grid_figure(torch.rand(2, 1, 9, 9), [tile], [0, 1], "ssim")
