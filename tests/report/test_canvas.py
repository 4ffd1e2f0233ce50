"""Figures that show themselves, and axes without decoration."""

from io import BytesIO

import numpy as np
from skimage.io import imread

from sltoolkit.report.canvas import COLORS, Figure, tidy


def test_a_figure_shows_itself_as_a_png_that_holds_what_is_drawn() -> None:
    figure = Figure(figsize=(2, 2), dpi=50)
    figure.subplots().plot([0, 1], color=COLORS[0], linewidth=5)

    image = imread(BytesIO(figure._repr_png_()))

    blue = np.array([0x00, 0x72, 0xB2])
    assert (np.abs(image[..., :3].astype(int) - blue).sum(-1) < 30).any()


def test_tidy_axes_have_a_grid_behind_and_two_sides() -> None:
    axis = Figure().subplots()

    tidy(axis)

    visible = {side for side, spine in axis.spines.items() if spine.get_visible()}
    assert visible == {"left", "bottom"}
    assert axis.get_axisbelow() is True
    assert all(line.get_visible() for line in axis.get_xgridlines())


def test_no_color_is_used_twice() -> None:
    assert len(set(COLORS)) == len(COLORS)
