"""The result store: one small file per result, written atomically under its key.

Every file in the store is complete. A run that is killed loses only the results in progress.
Tensors are stored as safetensors, records as JSON.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, final

from safetensors.torch import load_file, save_file
from torch import Tensor

from sltoolkit.errors import StoreError


@final
class Store:
    """A folder with `victims/KEY.safetensors`, `cells/KEY.json` and `images/KEY.safetensors`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("victims", "cells", "images"):
            try:
                (folder / part).mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise StoreError(f"can't write results to {folder}: {e}") from e

    def victim_path(self, key: str) -> Path:
        """The path of a victim's file, which need not exist yet."""
        return self.folder / "victims" / f"{key}.safetensors"

    def has_victim(self, key: str) -> bool:
        """Whether a victim is stored."""
        return self.victim_path(key).exists()

    def has_cell(self, key: str) -> bool:
        """Whether a cell's result, or the reason of its failure, is stored."""
        return self._cell_path(key).exists()

    def put_victim(self, key: str, write: Callable[[Path], None]) -> None:
        """Store a victim; `write` writes it to the path that it is given."""
        _atomically(self.victim_path(key), write)

    def put_cell(self, key: str, cell: dict[str, Any], images: dict[str, Tensor]) -> None:
        """Store a cell: its images come first, so that every stored cell is complete."""
        if images:
            flat = {k: v.detach().cpu().contiguous() for k, v in images.items()}
            path = self.folder / "images" / f"{key}.safetensors"
            _atomically(path, lambda p: save_file(flat, p))
        text = json.dumps(cell, indent=1)
        _atomically(self._cell_path(key), lambda p: _write(p, text))

    def cell(self, key: str) -> dict[str, Any]:
        """A cell's record: `rows`, `tuned`, `status`, `reason`.

        Raises:
            StoreError: if it is missing or damaged.
        """
        try:
            record: dict[str, Any] = json.loads(self._cell_path(key).read_text())
        except (OSError, json.JSONDecodeError) as e:
            raise StoreError(f"{self._cell_path(key)} can't be read ({e}): delete it") from e
        return record

    def day(self, keys: Iterable[str]) -> date:
        """When the last of these cells was written, in UTC."""
        last = max(self._cell_path(key).stat().st_mtime for key in keys)
        return datetime.fromtimestamp(last, UTC).date()

    def drop_cell(self, key: str) -> None:
        """Remove a cell's record, so that the cell is run again."""
        self._cell_path(key).unlink(missing_ok=True)

    def images(self, key: str) -> dict[str, Tensor]:
        """A cell's images and scores by name; empty if it has none."""
        path = self.folder / "images" / f"{key}.safetensors"
        return load_file(path) if path.exists() else {}

    def put_text(self, name: str, text: str) -> None:
        """Write a text file beside the results."""
        _atomically(self.folder / name, lambda p: _write(p, text))

    def _cell_path(self, key: str) -> Path:
        return self.folder / "cells" / f"{key}.json"


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _atomically(path: Path, write: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        with draft.open("rb") as f:
            os.fsync(f.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
