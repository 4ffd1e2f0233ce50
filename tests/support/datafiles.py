"""Files of data sets for the tests of their readers."""

from pathlib import Path


def write(path: Path, data: bytes) -> Path:
    """Write a file into folders that need not be there; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
