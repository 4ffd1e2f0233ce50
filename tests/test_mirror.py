"""Tests mirror the package: `sltoolkit/a/b.py` is tested by `tests/a/test_b.py`.

A test file's name may go on behind the module's name (`test_cut_refused.py` is about `cut`). Files
with a leading underscore are parts of the plug-ins beside them, and are tested through these.
`tests/contract` runs the contract suite, `sltoolkit.testing`. The lists below name all other
exceptions, with the place of the tests or the reason; an entry without an exception fails.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FREE = ("benchmarks", "cases", "contract", "docs", "e2e", "support")
"""Folders of tests that mirror no package."""

ABOUT_SEVERAL = {
    "test_registration": "a plug-in is one file and one line",
    "test_rooms": "which room may import which",
    "parameters/test_every_plugin": "the parameters of everything that is registered",
    "protocols/test_registry": "all protocols by name",
    "referee/test_path_to_a_row": "the modules between the client's forward pass and a row",
    "training/test_order": "which modules of the room import which",
    "test_mirror": "this file",
    "test_packaging": "the wheel, the links and the public names",
    "test_partition_and_reducer_options": "options of the API and of specs",
    "attacks/inversion/test_on_real_data": "several attacks on real data",
    "attacks/inversion/test_withheld_channels": "several attacks behind one defense",
    "attacks/labels/test_exact": "norm and direction beside each other",
    "attacks/labels/test_on_digits": "all label attacks on a trained victim",
    "attacks/listening/test_on_digits": "all listeners on a trained victim",
    "attacks/test_averaging_releases": "all attacks that average releases",
    "attacks/test_decoding_in_evaluation_mode": "all attacks that decode",
    "attacks/test_in_place_clients": "all attacks on clients that work in place",
    "attacks/test_leaks_and_collapses": "all attacks before and behind noise",
    "attacks/test_pruned_releases": "all attacks behind pruned channels",
    "attacks/test_what_decoders_minimize": "all attacks on a training that train a decoder",
    "costs/test_formulas": "the published formulas beside each other",
    "data/test_cifar": "readers of one data set's files",
    "defenses/test_each_acts": "every defense is seen to act",
    "defenses/test_training": "training under every defense",
    "networks/test_geometry": "where all networks put their cells",
    "protocols/test_defense_seams": "the seams of every protocol",
    "protocols/test_feature_roles": "what each party holds in protocols with blocks of features",
    "protocols/test_feature_victims_stored": "stored victims of such protocols",
    "protocols/test_plain_loops": "protocols against loops written out",
    "training/test_memory_format": "channels-last from the data to the weights",
}
"""Test files about more than one module -> their subject."""

ELSEWHERE = {
    "adversary/descended": "adversary/test_descent",
    "bench/run": "e2e/test_bench",
    "bench/worker": "e2e/test_bench_workers",
    "contracts/attack": "contract/test_attacks",
    "serve/__main__": "serve/test_process",
    "serve/placeholders": "serve/test_process",
    "serve/transport": "serve/test_process",
    "training/protocol": "contract/test_protocols",
}
"""Modules without a test file of their name -> the one that tests them."""

UNTESTED = {
    "__main__": "one call of the command line",
    "adversary/training_setup": "a record without behavior",
    "cli/options": "types of options",
    "contracts/outcomes": "records without behavior",
    "parties/stages": "interfaces",
    "shapes": "aliases of types",
    "wire/turn": "records without behavior",
}
"""Modules with nothing to test -> the reason."""


def _modules() -> dict[str, Path]:
    """The modules' files by name, without `sltoolkit/`; attacks and defenses are counted once."""
    found: dict[str, Path] = {}
    for top in ("sltoolkit", "attacks", "defenses"):
        for path in sorted((ROOT / top).rglob("*.py")):
            inner = path.relative_to(ROOT / top)
            linked = top == "sltoolkit" and inner.parts[0] in ("attacks", "defenses")
            if path.stem != "__init__" and not linked:
                name = inner.with_suffix("").as_posix()
                found[name if top == "sltoolkit" else f"{top}/{name}"] = path
    return found


def _tests() -> list[str]:
    """The test files that mirror a package, as `a/test_b`."""
    folder = ROOT / "tests"
    names = (p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("test_*.py"))
    return sorted(name for name in names if name.split("/")[0] not in FREE)


MODULES = _modules()
TESTS = _tests()


def _module_of(test: str) -> str | None:
    """The module that a test file is named after; the longest name that fits counts."""
    folder, _, stem = test.rpartition("/")
    words = stem.removeprefix("test_")
    fitting = [
        (len(own), module)
        for module in MODULES
        for home, _, last in [module.rpartition("/")]
        for own in [last.strip("_")]
        if (home == folder or (folder == "defenses" and home.startswith("defenses/")))
        and (words == own or words.startswith(f"{own}_"))
    ]
    return max(fitting)[1] if fitting else None


def _is_tested_through_others(module: str) -> bool:
    room, last = module.split("/")[0], module.rpartition("/")[2]
    piece = room in ("attacks", "defenses", "protocols") and last.startswith("_")
    return piece or room == "testing"


def _public(path: Path) -> set[str]:
    """Names that a module defines at its top, without an underscore."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_every_test_file_says_which_module_it_is_about() -> None:
    lost = [test for test in TESTS if _module_of(test) is None and test not in ABOUT_SEVERAL]

    assert not lost, "name them after their module, or list them in ABOUT_SEVERAL"


def test_every_module_has_a_test_of_its_name() -> None:
    named = {_module_of(test) for test in TESTS if test not in ABOUT_SEVERAL}

    pieces = {module for module in MODULES if _is_tested_through_others(module)}
    bare = sorted(MODULES.keys() - named - pieces - ELSEWHERE.keys() - UNTESTED.keys())
    assert not bare, "write the tests, or say in ELSEWHERE where they are"


@pytest.mark.parametrize("module", ELSEWHERE)
def test_what_is_tested_elsewhere_is_named_there(module: str) -> None:
    path = ROOT / "tests" / f"{ELSEWHERE[module]}.py"

    words = set(re.findall(r"\w+", path.read_text()))
    last = module.rpartition("/")[2]
    assert words & ({last, last.strip("_")} | _public(MODULES[module]))


def test_the_lists_hold_nothing_that_is_gone_or_has_a_test_by_now() -> None:
    named = {_module_of(test) for test in TESTS if test not in ABOUT_SEVERAL}

    assert not ABOUT_SEVERAL.keys() - set(TESTS)
    assert not [test for test in ABOUT_SEVERAL if _module_of(test) is not None]
    assert not (ELSEWHERE.keys() | UNTESTED.keys()) - MODULES.keys()
    assert not (ELSEWHERE.keys() | UNTESTED.keys()) & named
    assert not ELSEWHERE.keys() & UNTESTED.keys()
