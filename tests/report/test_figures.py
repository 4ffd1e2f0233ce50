"""Reconstructions beside their originals."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.drawings import drawn
from support.rows import assert_readable

from sltoolkit.errors import SpecError
from sltoolkit.metrics import mse, ssim
from sltoolkit.report.figures import reconstruction_figure


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_are_drawn_with_their_names(channels: int) -> None:
    images = torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    figure = reconstruction_figure({"original": images, "undefended": images.flip(0)})
    assert len(figure.axes) == 8
    assert {a.get_ylabel() for a in figure.axes} - {""} == {"original", "undefended"}
    pixels = drawn(figure)
    assert pixels.std() > 20
    shown = np.asarray(figure.axes[0].images[0].get_array())
    want = images[0].permute(1, 2, 0).numpy()
    assert np.allclose(shown.reshape(8, 8, channels), want)


@pytest.mark.parametrize(("side", "metric"), [(16, ssim), (8, mse)])
def test_below_a_reconstruction_stands_its_score(
    side: int, metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    images = torch.rand(16, 1, side, side, generator=torch.Generator().manual_seed(0))
    name = "dp_activations(epsilon=300)\ndeep_image_prior"
    figure = reconstruction_figure({"original": images, name: images * 0.5})
    digits = 2 if metric is ssim else 3
    below = [axis.get_xlabel() for axis in figure.axes]
    assert below[:16] == [""] * 16
    assert below[16:] == [f"{float(s):.{digits}f}" for s in metric(images * 0.5, images)]
    assert figure.axes[16].get_ylabel() == "DP activations\n(ε=300)\ndeep image prior"
    assert_readable(figure)


def test_reconstructions_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(SpecError, match="same number of images"):
        reconstruction_figure({"original": torch.rand(2, 1, 8, 8), "x": torch.rand(3, 1, 8, 8)})
    with pytest.raises(SpecError, match="of one shape"):
        reconstruction_figure({"original": torch.rand(2, 1, 8, 8), "x": torch.rand(2, 1, 9, 9)})
    with pytest.raises(SpecError, match="1 or 3"):
        reconstruction_figure({"original": torch.rand(2, 2, 8, 8)})
