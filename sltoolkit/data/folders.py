"""Pools from folders of pictures, one folder per class."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sltoolkit.data.dataset import from_dataset
from sltoolkit.data.pool import Pool
from sltoolkit.errors import DataError


def folder(path: Path | str) -> Pool:
    """The pictures in the folders of a folder; a folder's name is the class of its pictures.

    All pictures must have one size and mode. Hidden files are skipped.

    Args:
        path: the folder. Its name is the pool's.

    Raises:
        DataError: if there are no pictures, a file is none, or `from_dataset` refuses them.
    """
    path = Path(path)
    classes = sorted(p.name for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).iterdir())
        if not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{path} holds no pictures: put those of each class into a folder there")
    pictures = [(_picture(file), label) for file, label in files]
    return from_dataset(pictures, name=path.name, classes=classes)


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened.copy()
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} is no picture that can be read ({error}): remove it") from error
