"""Heartbeats of the MIT-BIH arrhythmia database, as signals of one lead."""

from pathlib import Path

import numpy as np

from sltoolkit.data.files import SET_ROOT
from sltoolkit.data.npz import read_arrays
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.errors import DataError

BEATS = ("normal", "supraventricular", "ventricular")
"""The AAMI classes N, S and V. The other two are left out, since patients could not be kept apart:
most beats of F come from two patients, and Q has fifteen beats."""


def mitbih(root: Path) -> Pool:
    """43,980 beats of 44 patients, (1, 128): lead MLII at 180 Hz, each scaled to [0, 1].

    Moody & Mark 2001, The impact of the MIT-BIH arrhythmia database. Read from
    `root`/MITBIH/mitbih_beats.npz: `x` (N, 128) around the R peak, `aami` (N,) classes 0 to 4 for
    N, S, V, F, Q, and `record` (N,), by which beats are grouped. A beat is scaled by its own
    smallest and largest value, so that neither baseline nor amplitude is left to recover.

    Raises:
        DataError: if the file is missing or damaged.
    """
    path = root / "MITBIH" / "mitbih_beats.npz"
    if not path.exists():
        raise DataError(f"{path} is missing and is not published: put it there, or {SET_ROOT}")
    x, aami, record = read_arrays(path, [("x", "aami", "record")]).values()
    kept = np.flatnonzero(aami < len(BEATS))
    beats = x[kept].astype(np.float32)
    low, high = beats.min(1, keepdims=True), beats.max(1, keepdims=True)
    if not (high > low).all():
        raise DataError(f"{path} holds beats that are constant: get the file again")
    return from_arrays(
        ((beats - low) / (high - low))[:, None], aami[kept], name="mitbih", classes=BEATS,
        groups=record[kept].astype(np.int64), ids=kept,
    )  # fmt: skip
