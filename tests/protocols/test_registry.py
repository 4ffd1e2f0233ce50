from pathlib import Path

from sltoolkit import protocols
from sltoolkit.protocols import PROTOCOLS


def test_every_file_without_an_underscore_is_a_protocol() -> None:
    files = Path(str(protocols.__file__)).parent.glob("*.py")
    names = {file.stem for file in files if not file.stem.startswith("_")}
    assert names == set(PROTOCOLS)
    assert all(kind.__module__ == f"sltoolkit.protocols.{n}" for n, kind in PROTOCOLS.items())
