"""Pools from `.npz` files, written by any program; nothing is ever unpickled."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from sltoolkit.data.layout import Array, ImageLayout, channels_first, check_layout
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.errors import DataError

KEYS: tuple[tuple[str, ...], ...] = (
    ("x", "y"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("x_train", "y_train"),
    ("images", "labels"),
    ("data", "labels"),
)
"""Sets of array names, inputs and labels in turn; the first set that a file holds is read."""


def npz(path: Path | str, *, layout: ImageLayout | None = None) -> Pool:
    """The data set in an `.npz` file.

    The arrays are named as in `KEYS`; a test part is appended to its training part. Inputs are
    images of four dimensions, gray images (N, H, W), uint8 or float in [0, 1], or features (N, d).
    An array `classes` gives the class names. The pool's name is the file's.

    Args:
        path: the file.
        layout: the order of axes in images of four dimensions; by default the layout in
            which the number of channels is 1, 3 or 4.

    Raises:
        SpecError: if there is no such layout.
        DataError: if the file is missing or damaged, holds Python objects or other array names, its
            layout can't be told, or `from_arrays` refuses its arrays.
    """
    check_layout(layout, ImageLayout)
    path = Path(path)
    arrays = read_arrays(path, KEYS, optional=("classes",))
    classes = class_names(arrays.pop("classes"), path) if "classes" in arrays else None
    parts = list(arrays.values())
    x, y = joined(parts[0::2], path), joined(parts[1::2], path)
    x = channels_first(x, str(path), layout=layout, fix="pass layout='NCHW' or layout='NHWC'")
    stated: ImageLayout | None = "NCHW" if x.ndim == 4 else None
    return from_arrays(x, y, name=path.stem, classes=classes, layout=stated)


def read_arrays(
    path: Path, keys: Sequence[tuple[str, ...]], *, optional: Sequence[str] = ()
) -> dict[str, Array]:
    """The arrays of the first complete set of `keys`, in its order, then `optional` ones found.

    Raises:
        DataError: if the file is missing or damaged, holds none of the sets, or an array that is
            read holds Python objects (which could execute code when loaded).
    """
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise DataError(f"{path} is a single array, expected an archive: numpy.savez")
            found = archive.files
            wanted = next((k for k in keys if set(k) <= set(found)), ())
            arrays = {k: archive[k] for k in (*wanted, *optional) if k in found}
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: check the path") from error
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is no readable .npz file of plain arrays ({error}): get it again, or write it "
            "with numpy.savez, names as strings; Python objects are never unpickled"
        ) from error
    if not wanted:
        sets = "; ".join(", ".join(k) for k in keys)
        raise DataError(
            f"{path} holds the arrays {', '.join(found) or '(none)'}, expected one of these "
            f"sets: {sets}"
        )
    return arrays


def class_names(names: Array, path: Path) -> tuple[str, ...]:
    """The entries of an array of class names.

    Raises:
        DataError: if the array isn't one-dimensional.
    """
    if names.ndim != 1:
        raise DataError(f"{path}: classes has shape {names.shape}, expected one name per class")
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names.tolist())


def joined(parts: Sequence[Array], path: Path) -> Array:
    """The parts, concatenated, in native byte order.

    Raises:
        DataError: if their shapes or types differ, or they hold no numbers.
    """
    if len({(p.ndim, p.shape[1:], p.dtype) for p in parts}) > 1:
        described = " and ".join(f"{p.shape} {p.dtype}" for p in parts)
        raise DataError(f"{path}: train and test parts don't fit together: {described}")
    first = parts[0]
    if first.dtype.kind not in "buif" or first.ndim == 0:
        raise DataError(f"{path}: found {first.shape} {first.dtype}, expected arrays of numbers")
    whole = first if len(parts) == 1 else np.concatenate(parts)
    return whole.astype(whole.dtype.newbyteorder("="), copy=False)
