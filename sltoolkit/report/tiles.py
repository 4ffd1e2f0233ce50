"""Draws one image of a figure: its pixels, and the number below it."""

from matplotlib.axes import Axes
from torch import Tensor

from sltoolkit.report.canvas import SMALL

SCORE_HEIGHT = 0.13  # inches below a tile

_DIGITS = {"mse": 3, "psnr_db": 1}


def bare(axis: Axes) -> None:
    """Remove ticks and frame."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def draw(axis: Axes, image: Tensor, truth: Tensor | None = None) -> None:
    """Draw an image (1 or 3, H, W) in [0, 1], or a signal (C, L) on top of the original."""
    bare(axis)
    values = image.detach().float().clamp(0, 1).cpu()
    if values.ndim == 2:
        for channel in truth.float().cpu() if truth is not None else ():
            axis.plot(channel.numpy(), color="0.75", lw=0.9)
        for channel in values:
            axis.plot(channel.numpy(), color="black", lw=0.6)
        axis.set_ylim(-0.05, 1.05)
        return
    pixels = values.permute(1, 2, 0).numpy()
    gray = pixels.shape[-1] == 1
    axis.imshow(
        pixels[..., 0] if gray else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )


def write_score(axis: Axes, score: float, metric: str) -> None:
    """Write the number below a tile."""
    axis.set_xlabel(f"{score:z.{_DIGITS.get(metric, 2)}f}", fontsize=SMALL, labelpad=1)
