"""One image of a figure: its pixels and the number below."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from sltoolkit.report.canvas import Figure
from sltoolkit.report.tiles import bare, draw, write_score


@pytest.fixture
def axis() -> Axes:
    return Figure().subplots()


def pixels(axis: Axes) -> np.ndarray:
    (image,) = axis.images
    return np.asarray(image.get_array())


def test_a_gray_image_is_drawn_between_black_and_white(axis: Axes) -> None:
    draw(axis, torch.tensor([[[0.25, 0.5], [0.75, 1.0]]]))

    np.testing.assert_allclose(pixels(axis), [[0.25, 0.5], [0.75, 1.0]])
    assert axis.images[0].get_clim() == (0, 1)


def test_colors_are_the_last_axis_and_values_outside_are_cut_off(axis: Axes) -> None:
    image = torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1).expand(3, 2, 4).requires_grad_()

    draw(axis, image)

    assert pixels(axis).shape == (2, 4, 3)
    assert pixels(axis)[0, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_any_precision_is_drawn(axis: Axes, dtype: torch.dtype) -> None:
    draw(axis, torch.full((1, 2, 2), 0.5, dtype=dtype))

    assert pixels(axis).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_signal_is_a_line_per_channel_on_top_of_the_original(axis: Axes) -> None:
    found, truth = torch.zeros(2, 5), torch.linspace(0, 1, 10).view(2, 5)

    draw(axis, found, truth)

    drawn = [np.asarray(line.get_ydata()) for line in axis.lines]
    np.testing.assert_allclose(drawn, np.concatenate([truth, found]))
    assert axis.get_ylim() == (-0.05, 1.05)


def test_a_signal_may_stand_alone(axis: Axes) -> None:
    draw(axis, torch.zeros(2, 5))

    assert len(axis.lines) == 2


def test_tiles_have_neither_ticks_nor_frame(axis: Axes) -> None:
    bare(axis)

    assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0
    assert not any(spine.get_visible() for spine in axis.spines.values())


@pytest.mark.parametrize(
    ("metric", "score", "text"),
    [("ssim", 0.456, "0.46"), ("mse", 0.0456, "0.046"), ("psnr_db", 21.55, "21.6"),
     ("own", -0.001, "0.00")],
)  # fmt: skip
def test_scores_have_the_digits_of_their_metric(
    axis: Axes, metric: str, score: float, text: str
) -> None:
    write_score(axis, score, metric)

    assert axis.get_xlabel() == text
