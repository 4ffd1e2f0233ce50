"""Which targets a grid shows, and its gaps if an attack has no result."""

import pytest
import torch

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
