"""What a figure shows."""

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from skimage.io import imread


def drawn(figure: Figure) -> np.ndarray[Any, Any]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    pixels: np.ndarray[Any, Any] = imread(buffer)[..., :3]
    return pixels


def written(figure: Figure) -> set[str]:
    return {t.get_text() for axis in figure.axes for t in axis.texts if t.get_text()}
