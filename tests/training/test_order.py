"""The modules of `training` import each other in one order only, also inside functions."""

import ast
from pathlib import Path

import pytest

from sltoolkit import training

ORDER = (
    "tensor_file", "guarded", "joint_client", "deployed", "utility", "member", "averaging",
    "merging", "mixing", "secret", "cast", "casting", "protocol", "run", "releases", "phases",
    "measured",
    "recipe", "victim", "checkpoint",
)  # fmt: skip
FOLDER = Path(str(training.__file__)).parent


def imported(name: str) -> set[str]:
    nodes = ast.walk(ast.parse((FOLDER / f"{name}.py").read_text()))
    modules = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {m.split(".")[2] for m in modules if m.startswith("sltoolkit.training.")}


def test_every_module_has_a_place() -> None:
    assert {file.stem for file in FOLDER.glob("*.py")} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    assert imported(name) <= set(ORDER[: ORDER.index(name)])


def test_the_imports_are_found() -> None:
    assert {"cast", "averaging", "member", "guarded"} <= imported("casting")
