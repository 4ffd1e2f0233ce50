"""Files of data sets for the tests of their readers."""

from pathlib import Path


def write(path: Path, data: bytes) -> Path:
    """Write a file, and make its folders if they are missing; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
