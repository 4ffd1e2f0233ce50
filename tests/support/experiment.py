"""A tiny experiment for the tests of the bench: seconds to run, and every kind of row in it."""

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

from sltoolkit.data import load

VOLATILE = ["seconds", "peak_mb", "train_seconds", "commit"]
"""Columns that may differ between two runs; the commit, too, if there is one in between."""

Spec = dict[str, Any]

_SPEC: Spec = {
    "name": "tiny",
    "seeds": [0, 1],
    "demonstration": True,
    "grants": ["aux", "client_weights", "hints", "release"],
    "data": {"name": "digits", "train": 120, "holdout": 60, "aux": 60},
    "model": {"name": "mlp", "cut": "relu1", "hidden": [24, 16]},
    "protocol": {"name": "vanilla", "labels_at": "server"},
    "training": {"epochs": 1, "lr": 0.01},
    "targets": {"count": 3, "labels": 32},
    "defense": [{"name": "none"}, {"name": "gaussian_noise", "std": 0.5}],
    "attack": [
        {"name": "whitebox", "steps": 2, "tv_weight": 0.01, "forward": "client", "start": "mean"},
        {"name": "norm"},
    ],
}


def tiny(**changes: Any) -> Spec:
    """The experiment with other values of its top-level keys; two victims per defense."""
    return {**copy.deepcopy(_SPEC), **changes}


def majority_share() -> float:
    """The accuracy of the best constant guess in the tiny experiment."""
    return load(**_SPEC["data"]).private_holdout.majority_share


def toml(spec: Spec) -> str:
    """A spec as the text of a TOML file."""
    plain = [f"{k} = {_value(v)}" for k, v in spec.items()]
    return "\n".join(plain) + "\n"


def comparable(rows: pd.DataFrame) -> str:
    """Rows as text without the columns that may differ between two runs, for comparison."""
    return rows.drop(columns=VOLATILE).to_csv(index=False, float_format="%.17g")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of all cells: scores, images, and their truth."""
    return {
        f"{path.stem}/{name}": tensor
        for path in sorted((folder / "images").glob("[!.]*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def same_tensors(a: Path, b: Path) -> bool:
    """Whether two stores hold bit-identical tensors under the same names."""
    left, right = tensors(a), tensors(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
