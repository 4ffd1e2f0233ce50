"""The key that a result is stored under: a hash of everything that it depends on.

These are the recipe, the code of the plug-ins and of the modules that they import, the versions of
package and torch, the number of threads and the device. The same key means the same numbers.

Code is hashed as its syntax tree without prose: docstrings, comments, formatting and the meanings
of parameters may change while stored results stay valid.
"""

import ast
import hashlib
import inspect
import json
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sltoolkit.bench.imports import modules_behind
from sltoolkit.errors import SpecError

THREADS = 1
"""One thread per worker: one and two threads give different weights."""


def key_of(what: Any, sources: list[Any]) -> str:
    """The key of a result.

    Args:
        what: the description of the result, as JSON values.
        sources: the classes and functions that compute it.
    """
    text = json.dumps([what, [_source(s) for s in sources], _environment()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def modules_of(thing: Any) -> dict[str, Path]:
    """The modules that a class's or function's result depends on, and their files."""
    module = sys.modules[thing.__module__]
    return modules_behind(thing.__module__, Path(inspect.getfile(module)))


def code_of(source: str) -> str:
    """What a module computes, as text: its syntax tree without prose and positions."""
    return ast.dump(_WithoutProse().visit(ast.parse(source)), annotate_fields=False)


@cache
def _source(thing: Any) -> str:
    """The hash of the code that a class or function runs: its module and what that imports."""
    code = "\0".join(_code_of_file(file) for file in modules_of(thing).values())
    return hashlib.sha256(code.encode()).hexdigest()


@cache
def _code_of_file(file: Path) -> str:
    return code_of(file.read_text())


class _WithoutProse(ast.NodeTransformer):
    """Drops docstrings, other texts that stand alone, and the meanings of parameters."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name == "Parameter":
            node.args = [a for a in node.args if not _is_text(a)]
            node.keywords = [k for k in node.keywords if k.arg != "meaning"]
        return self.generic_visit(node)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@cache
def _environment() -> tuple[str, ...]:
    return (version("sltoolkit"), torch.__version__, f"{THREADS} thread")


def digest_of(path: str | None) -> str | None:
    """The hash of a file that a spec names, if it names one.

    Raises:
        SpecError: if the file can't be read.
    """
    try:
        return path and hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as e:
        raise SpecError(f"{path} can't be read ({e.strerror}): give a file that is there") from e
