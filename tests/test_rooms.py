"""The rooms of the package: which may import which, without circles."""

import ast
from collections.abc import Mapping

import pytest
from support.rooms import ROOT, circle_in, folder_of, imports, modules, room_of

from sltoolkit.attacks import ATTACKS
from sltoolkit.protocols import PROTOCOLS

MAY_IMPORT: dict[str, set[str]] = {
    "ground": set(),
    "wire": set(),
    "parties": set(),
    "data": set(),
    "models": set(),
    "networks": set(),
    "metrics": set(),
    "privacy": set(),
    "contracts": {"wire", "parties", "privacy"},
    "costs": {"models"},
    "adversary": {"contracts", "networks", "models", "metrics"},
    "defenses": {"contracts", "networks", "metrics"},
    "training": {"contracts", "costs", "data"},
    "protocols": {"training"},
    "attacks": {"contracts", "adversary", "networks", "metrics"},
    "referee": {"training", "adversary", "metrics"},
    "rows": {"referee", "protocols", "attacks", "defenses"},
    "report": {"metrics", "protocols", "rows"},
    "api": {"report"},
    "testing": {"api"},
    "bench": {"api"},
    "serve": {"bench"},
    "cli": {"bench"},
    "__main__": {"cli"},
    "sltoolkit": {"api"},
}
"""Room -> the rooms that it may import besides the ground, and all that these may import."""

TRUTH = {"image_targets", "label_targets"}
"""Names in `data.targets` that choose private records; `Targets` only says how many."""

FILES = modules()
IMPORTS = imports(FILES)


def reach(room: str) -> set[str]:
    """All rooms that a room may import."""
    found, todo = {room, "ground"}, [room]
    while todo:
        new = MAY_IMPORT[todo.pop()] - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_it_may(room: str) -> None:
    forbidden = [
        f"{name} -> {other}"
        for name, others in IMPORTS.items()
        for other in sorted(others)
        if room_of(name) == room and room_of(other) not in reach(room)
    ]
    assert forbidden == []


def test_the_table_names_every_room() -> None:
    assert {room_of(name) for name in FILES} - set(MAY_IMPORT) == set()


def test_no_circle_of_files() -> None:
    assert circle_in(IMPORTS) == []


def test_no_circle_of_folders() -> None:
    folders: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        here = folder_of(name, FILES[name])
        there = {folder_of(other, FILES[other]) for other in others}
        folders.setdefault(here, set()).update(there - {here})
    assert circle_in(folders) == []


CIRCLES: list[tuple[Mapping[str, set[str]], list[str]]] = [
    ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
    ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
    ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
]


@pytest.mark.parametrize(("graph", "circle"), CIRCLES)
def test_a_circle_is_found(graph: Mapping[str, set[str]], circle: list[str]) -> None:
    assert circle_in(graph) == circle


def test_at_most_eight_files_at_the_root() -> None:
    assert len([p for p in (ROOT / "sltoolkit").iterdir() if p.suffix == ".py"]) <= 8


@pytest.mark.parametrize(
    ("folder", "registry"), [("attacks", ATTACKS), ("sltoolkit/protocols", PROTOCOLS)]
)
def test_every_open_file_defines_a_registered_plugin(
    folder: str, registry: Mapping[str, type]
) -> None:
    open_files = {p.stem for p in (ROOT / folder).rglob("*.py") if not p.stem.startswith("_")}
    assert open_files == {kind.__module__.rpartition(".")[2] for kind in registry.values()}
    assert open_files == set(registry)


def test_nothing_below_the_referee_imports_the_truth() -> None:
    below = {room for room in MAY_IMPORT if "referee" not in reach(room)} - {"data"}
    assert {"attacks", "adversary", "defenses", "training", "protocols"} <= below
    found = [
        f"{name} imports {alias.name}"
        for name, file in FILES.items()
        if room_of(name) in below
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.name in TRUTH or alias.name.rpartition(".")[2] == "targets"
    ]
    assert found == []
