"""The order of axes of inputs: told by their shape or by the user, and never guessed."""

from typing import Any, Literal, TypeVar, get_args

import numpy as np
from torch import Tensor

from sltoolkit.errors import DataError, SpecError

Array = np.ndarray[Any, Any]
T = TypeVar("T", Array, Tensor)

ImageLayout = Literal["NCHW", "NHWC"]
Layout = Literal["NCHW", "NHWC", "NCL", "NHW"]
"""Images in color, channels first or last; signals; gray images without an axis of channels."""

CHANNELS = (1, 3, 4)
"""Numbers of channels by which a layout is recognized: gray, RGB, RGBA."""

_AXES = {"NCHW": 4, "NHWC": 4, "NCL": 3, "NHW": 3}
_LONG = 4  # a signal is at least this many times as long as it has channels


def check_layout(layout: str | None, known: Any) -> None:
    """Check that a layout is one of a `Literal`'s, or None.

    Raises:
        SpecError: naming the layouts there are.
    """
    if layout not in (None, *get_args(known)):
        names = ", ".join(map(repr, get_args(known)))
        raise SpecError(f"layout is {layout!r}, expected {names} or None")


def documented(x: T, name: str, *, layout: Layout | None) -> T:
    """Images as (N, C, H, W), signals as (N, C, L), features as they are.

    Args:
        x: inputs; images and signals in the layout that is given. Without one, they are taken for
            (N, C, H, W) and (N, C, L) if their shape doesn't suggest another layout: images of 1, 3
            or 4 channels, or fewer channels than columns; signals at least 4 times as long as they
            have channels.
        name: the data set's name, for errors.
        layout: the order of the axes.

    Raises:
        DataError: if the shape suggests another layout, or doesn't fit the one that is given.
        SpecError: if there is no such layout.
    """
    check_layout(layout, Layout)
    shape = tuple(x.shape)
    if layout is None:
        if x.ndim == 4 and shape[1] not in CHANNELS and shape[1] >= shape[3]:
            raise DataError(
                f"{name}: x has shape {shape}, expected images (N, C, H, W), but {shape[1]} "
                f"channels of {shape[2]}x{shape[3]} pixels would be odd: pass layout='NHWC' if "
                "channels are last, layout='NCHW' if they aren't"
            )
        if x.ndim == 3 and shape[1] > 1 and _LONG * shape[1] > shape[2]:
            raise DataError(
                f"{name}: x has shape {shape}, expected signals (N, C, L), but {shape[1]} channels "
                f"of length {shape[2]} would be odd: pass layout='NHW' for gray images, "
                "layout='NCL' for signals"
            )
        return x
    if _AXES[layout] != x.ndim:
        raise DataError(f"{name}: x has shape {shape}, which layout={layout!r} doesn't fit")
    if layout == "NHWC":
        return nchw(x)
    return x[:, None] if layout == "NHW" else x


def channels_first(x: Array, where: str, *, layout: ImageLayout | None = None, fix: str) -> Array:
    """Images as (N, C, H, W), contiguous; features (N, d) as they are.

    Args:
        x: (N, C, H, W), (N, H, W, C), (N, H, W) or (N, d).
        where: the source, for errors.
        layout: the order of axes in images of four dimensions; by default told by the channels.
        fix: what the user can do if the layout can't be told, for errors.

    Raises:
        DataError: if the layout can't be told, or there are other numbers of dimensions.
    """
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise DataError(
            f"{where}: inputs have shape {x.shape}, expected images (N, C, H, W), (N, H, W, C), "
            "(N, H, W), or features (N, d)"
        )
    if layout is None:
        first, last = x.shape[1] in CHANNELS, x.shape[3] in CHANNELS
        if first == last:
            which = "both" if first else "neither"
            raise DataError(
                f"{where}: inputs have shape {x.shape}, where {which} of the places for channels "
                f"hold 1, 3 or 4, so their layout can't be told; {fix}"
            )
        layout = "NCHW" if first else "NHWC"
    return x if layout == "NCHW" else nchw(x)


def nchw(x: T) -> T:
    """Images (N, H, W, C) as (N, C, H, W), contiguous.

    The memory layout must not depend on the file, because convolutions choose their algorithm by
    the layout, and different algorithms round differently.
    """
    if isinstance(x, Tensor):
        return x.permute(0, 3, 1, 2).contiguous()
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
