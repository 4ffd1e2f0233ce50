"""Data: samples with identity, disjoint splits, and the data sets by name."""

from sltoolkit.data.dataset import from_dataset
from sltoolkit.data.folders import folder
from sltoolkit.data.npz import npz
from sltoolkit.data.parts import parts
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.data.registry import DATASETS, data_root, describe, load, pool
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.split import check_disjoint, split

__all__ = [
    "DATASETS",
    "Pool",
    "Samples",
    "Split",
    "check_disjoint",
    "data_root",
    "describe",
    "folder",
    "from_arrays",
    "from_dataset",
    "load",
    "npz",
    "parts",
    "pool",
    "split",
]
