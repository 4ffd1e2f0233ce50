"""The package's imports, including those for type checkers and inside functions."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sltoolkit.bench.imports import imports_of, locate

ROOT = Path(__file__).parents[2]
PACKAGE = {"sltoolkit": ROOT}
GROUND = ("errors", "streams", "shapes", "progress", "parameters")

Graph = Mapping[str, Iterable[str]]


def modules() -> dict[str, Path]:
    """Every module's name and file."""
    found = {}
    for top in ("sltoolkit", "attacks", "defenses"):
        for file in sorted((ROOT / top).rglob("*.py")):
            if not any(folder.is_symlink() for folder in file.parents):
                parts = file.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts if top == "sltoolkit" else ("sltoolkit", *parts))
                found[name.removesuffix(".__init__")] = file
    return found


def imports(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Module -> the package's modules that it imports."""
    return {
        name: {other for other in imports_of(name, file, running=False) if locate(other, PACKAGE)}
        for name, file in files.items()
    }


def room_of(module: str) -> str:
    """The room of a module: `ground`, its folder or, at the root, its own name."""
    inner = module.split(".")[1:2]
    return "ground" if inner and inner[0] in GROUND else inner[0] if inner else "sltoolkit"


def folder_of(module: str, file: Path) -> str:
    """The folder of a module; a file at the root counts as its own folder."""
    folder = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return module if folder == "sltoolkit" else folder


def circle_in(graph: Graph) -> list[str]:
    """A path that ends where it begins; empty if there is none."""
    done: set[str] = set()
    for start in graph:
        path = _circle_from(start, graph, [], done)
        if path:
            return path
    return []


def _circle_from(node: str, graph: Graph, path: list[str], done: set[str]) -> list[str]:
    if node in path:
        return [*path[path.index(node) :], node]
    if node in done:
        return []
    for other in sorted(graph.get(node, ())):
        found = _circle_from(other, graph, [*path, node], done)
        if found:
            return found
    done.add(node)
    return []
