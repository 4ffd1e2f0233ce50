"""Tensors with a JSON record in one safetensors file; nothing is ever unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from sltoolkit.errors import StoreError


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, because tensors that share some can't be stored together."""
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def metadata(record: Mapping[str, Any]) -> dict[str, str]:
    """A record in the form of a file's header."""
    return {"record": json.dumps(record)}


def read_recorded(path: Path, *, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a file.

    Args:
        path: of the file.
        remedy: what the user can do about a damaged file, for the error's text.

    Raises:
        StoreError: if the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as f:
            record = json.loads(f.metadata()["record"])
    except (OSError, SafetensorError, TypeError, KeyError, json.JSONDecodeError) as e:
        raise StoreError(f"{path} can't be read ({e}): {remedy}") from e
    return tensors, record
