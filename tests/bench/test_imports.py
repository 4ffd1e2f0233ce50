"""Imports, as they are read from the sources."""

from pathlib import Path

import pytest

from sltoolkit.bench.imports import imports_of, locate, modules_behind

SOURCE = """
import json
import pack.alone
from typing import TYPE_CHECKING
from pack import part, NAME
from .near import thing
from .. import top
if TYPE_CHECKING:
    from pack import typed
else:
    from pack import untyped
def late():
    from pack import late_part
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a folder inside, most of whose files are empty."""
    inner = tmp_path / "pack" / "inner"
    inner.mkdir(parents=True)
    for name in ("__init__", "alone", "part", "top", "typed", "untyped", "late_part", "loose"):
        (inner.parent / f"{name}.py").write_text("")
    (inner / "__init__.py").write_text("from .near import thing\n")
    (inner / "near.py").write_text("from pack import loose\n")
    (inner / "user.py").write_text(SOURCE)
    return tmp_path


RUNNING = {
    "json", "typing", "pack", "pack.alone", "pack.part", "pack.inner.near", "pack.top",
    "pack.untyped", "pack.late_part",
}  # fmt: skip


def test_imports_are_resolved_to_modules(package: Path) -> None:
    user = package / "pack" / "inner" / "user.py"
    assert imports_of("pack.inner.user", user, running=True) == RUNNING
    assert imports_of("pack.inner.user", user, running=False) == {*RUNNING, "pack.typed"}


def test_a_packages_own_dots_begin_at_itself(package: Path) -> None:
    init = package / "pack" / "inner" / "__init__.py"
    assert imports_of("pack.inner", init, running=True) == {"pack.inner.near"}


def test_what_runs_is_everything_that_is_imported_within_the_package(package: Path) -> None:
    found = modules_behind("pack.inner.user", package / "pack" / "inner" / "user.py")
    inside = {name for name in RUNNING if name.startswith("pack")}
    assert set(found) == {*inside, "pack.inner.user", "pack.loose"}
    assert list(found) == sorted(found)


def test_only_what_lies_below_the_roots_is_found(package: Path) -> None:
    roots = {"pack": package}
    assert locate("pack.inner", roots) == package / "pack" / "inner" / "__init__.py"
    assert locate("pack.inner.near", roots) == package / "pack" / "inner" / "near.py"
    assert locate("pack.inner.thing", roots) is None
    assert locate("json", roots) is None
