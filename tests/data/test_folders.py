"""Folders of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sltoolkit.data.folders import folder
from sltoolkit.errors import DataError


def _fill(root: Path, mode: str = "L") -> None:
    shape = {"L": (6, 9), "RGB": (6, 9, 3)}[mode]
    for k, name in enumerate(("ill", "healthy")):
        (root / name).mkdir()
        for i in range(3):
            values = np.full(shape, 50 * k + i, np.uint8)
            Image.fromarray(values).save(root / name / f"{2 - i}.png")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_classes_and_pictures_come_in_the_order_of_their_names(
    mode: str, channels: int, tmp_path: Path
) -> None:
    _fill(tmp_path, mode)
    (tmp_path / "ill" / ".hidden").write_text("no picture")
    (tmp_path / "notes.txt").write_text("beside the classes")
    read = folder(tmp_path)
    assert read.classes == ("healthy", "ill")
    assert read.samples.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert read.samples.x.shape == (6, channels, 6, 9)
    shown = (read.samples.x[:, 0, 0, 0] * 255).round().tolist()
    assert shown == [52, 51, 50, 2, 1, 0]


def test_what_is_no_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="put those of each class into a folder"):
            folder(path)
    _fill(tmp_path)
    (tmp_path / "ill" / "9.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"9\.png is no picture that can be read"):
        folder(tmp_path)
