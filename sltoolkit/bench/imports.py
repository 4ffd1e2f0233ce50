"""Which modules run when a module runs: itself and everything that it imports.

The sources are parsed, not imported, so the answer doesn't depend on what else is loaded.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_ROOTS = {"sltoolkit": Path(__file__).parents[2]}
"""Top-level package -> the folder that holds it."""


def modules_behind(module: str, file: Path) -> dict[str, Path]:
    """The modules that run when a plug-in runs, and their files.

    Imports are followed within this package and within the plug-in's own package. Imports that only
    type checkers see are left out.

    Args:
        module: the name of the plug-in's module.
        file: the path of its source.
    """
    roots = {_top(module): _root_of(module, file), **_ROOTS}
    found, todo = {module: file}, [module]
    while todo:
        name = todo.pop()
        for other in imports_of(name, found[name], running=True):
            target = locate(other, roots)
            if target is not None and other not in found:
                found[other] = target
                todo.append(other)
    return dict(sorted(found.items()))


def locate(module: str, roots: dict[str, Path]) -> Path | None:
    """The file of a module or of a package's `__init__`; None for modules outside the roots.

    Args:
        module: the module's dotted name.
        roots: top-level package -> the folder that holds it.
    """
    if _top(module) not in roots:
        return None
    place = roots[_top(module)].joinpath(*module.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def imports_of(module: str, file: Path, *, running: bool) -> set[str]:
    """The modules that a module imports anywhere in its source.

    Args:
        module: the module's dotted name.
        file: the path of its source.
        running: whether to leave out imports for type checkers alone.
    """
    root = {_top(module): _root_of(module, file), **_ROOTS}
    found: set[str] = set()
    for node in _statements(_tree_of(file), running=running):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            source = _absolute(node, module, file)
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if locate(inner, root) else source)
    return found - {module}


@cache
def _tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def _statements(tree: ast.AST, *, running: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif running and isinstance(node, ast.If) and _for_type_checkers(node.test):
            for other in node.orelse:
                yield from _statements(ast.Module([other], []), running=running)
        else:
            yield from _statements(node, running=running)


def _for_type_checkers(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _absolute(node: ast.ImportFrom, module: str, file: Path) -> str:
    """The module that `from X import ...` imports from, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    outer = package[: len(package) - node.level + 1]
    return ".".join([*outer, *([node.module] if node.module else [])])


def _top(module: str) -> str:
    return module.partition(".")[0]


def _root_of(module: str, file: Path) -> Path:
    """The folder that holds the module's top-level package."""
    depth = module.count(".") + (file.name == "__init__.py")
    return file.parents[depth]
