"""Which parts of a file a plug-in's class reaches."""

import ast

import pytest

from sltoolkit.testing.reachable import reachable_source

FILE = """import gc
import torch
from a import b, c as d

LIMIT = 3
OTHER = gc.get_objects()

def helper(x):
    return d(x) + LIMIT

@decorated
class Plugin(Base):
    def run(self):
        return helper(torch.zeros(1))

class Base:
    view: "View"

class View: ...

def decorated(kind):
    return kind

def test_it():
    from tests import check
    class Inner(Base):
        def run(self):
            return check(self)
    check(Plugin)

test_it()
"""


def names(source: str) -> set[str]:
    """The names that a text's top-level statements bind."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        else:
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            found.add(node.name)
    return found


def test_it_is_what_the_class_uses_directly_and_through_others() -> None:
    kept = reachable_source(FILE, "Plugin")
    assert names(kept) == {
        "torch", "d", "LIMIT", "helper", "Plugin", "Base", "View", "decorated",
    }  # fmt: skip


def test_lines_keep_their_numbers() -> None:
    kept, whole = reachable_source(FILE, "Plugin").splitlines(), FILE.splitlines()
    assert kept[whole.index("class Plugin(Base):")] == "class Plugin(Base):"
    assert len(kept) <= len(whole)


def test_a_class_within_a_function_reaches_that_functions_imports() -> None:
    kept = reachable_source(FILE, "test_it.<locals>.Inner")
    assert names(kept) == {"Inner", "Base", "View", "check"}


@pytest.mark.parametrize(
    "line", ["try:\n    import gc\nexcept ImportError:\n    gc = None", "if True:\n    import gc"]
)
def test_what_a_branch_imports_is_reached(line: str) -> None:
    kept = reachable_source(f"{line}\nclass Plugin:\n    found = gc.get_objects()\n", "Plugin")
    assert "import gc" in kept
