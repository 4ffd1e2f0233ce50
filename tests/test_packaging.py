"""Everything in the tree is installed; without this test, an unlisted package would be missed."""

import ast
import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import sltoolkit
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.defenses import DEFENSES

ROOT = Path(__file__).parents[1]
SOURCES = ("sltoolkit", "attacks", "defenses")
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
    "packages"
]


def in_tree() -> set[str]:
    """Every file that an installed package needs, under its installed name."""
    found = set()
    for top in SOURCES:
        for path in (ROOT / top).rglob("*"):
            below = path.relative_to(ROOT)
            if path.suffix in (".py", ".typed", ".html", ".toml") and not _linked(path):
                prefix = "" if top == "sltoolkit" else "sltoolkit/"
                found.add(prefix + below.as_posix())
    return found


def _linked(path: Path) -> bool:
    return any(p.is_symlink() for p in path.parents)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a freshly built wheel, without its own records."""
    work = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, work / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, work / name)
    (work / "README.md").touch()
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out", "."],
        cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (archive,) = (work / "out").glob("*.whl")
    with zipfile.ZipFile(archive) as z:
        return {n for n in z.namelist() if ".dist-info/" not in n}


def test_the_wheel_holds_the_tree(wheel: set[str]) -> None:
    assert wheel == in_tree()


def test_the_tree_has_what_an_installed_package_needs() -> None:
    files = in_tree()
    assert "sltoolkit/py.typed" in files
    assert {"sltoolkit/attacks/__init__.py", "sltoolkit/defenses/__init__.py"} <= files
    assert any(name.endswith(".html") for name in files)


def test_every_folder_with_modules_is_a_listed_package() -> None:
    modules = [name for name in in_tree() if name.endswith(".py")]
    assert {name.rpartition("/")[0].replace("/", ".") for name in modules} == set(PACKAGES)


@pytest.mark.parametrize("name", ["attacks", "defenses"])
def test_the_links_for_runs_without_installation(name: str) -> None:
    link = ROOT / "sltoolkit" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    tracked = subprocess.run(
        ["git", "ls-files", "--stage", f"sltoolkit/{name}"], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert tracked.returncode != 0 or tracked.stdout.startswith("120000")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    missing = [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)]
    assert missing == []


def test_every_registered_plugin_is_a_public_name() -> None:
    for kind in [*ATTACKS.values(), *DEFENSES.values()]:
        assert getattr(sltoolkit, kind.__name__) is kind


@pytest.mark.parametrize("registry", [ATTACKS, DEFENSES], ids=["attacks", "defenses"])
def test_every_class_that_a_registry_imports_is_registered(registry: dict[str, type]) -> None:
    package = next(iter(set(registry.values()) - {NoDefense})).__module__.rsplit(".", 2)[0]
    imported = [v for v in vars(importlib.import_module(package)).values() if isinstance(v, type)]
    inside = [kind for kind in imported if kind.__module__.startswith(f"{package}.")]
    assert sorted(map(repr, inside)) == sorted(map(repr, set(registry.values()) - {NoDefense}))


def test_type_checkers_see_the_public_names() -> None:
    source = (ROOT / "sltoolkit" / "__init__.py").read_text()
    imported = {a.asname for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)
                for a in n.names if a.asname is not None}  # fmt: skip
    assert imported == set(sltoolkit._HOME_OF)


def test_a_former_name_still_works_and_says_what_it_is_called_now() -> None:
    with pytest.warns(DeprecationWarning, match=r"sl\.Quantised is called sl\.Quantized now"):
        assert sltoolkit.Quantised is sltoolkit.Quantized
    assert "Quantised" not in sltoolkit.__all__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, sltoolkit; sys.exit(bool({'torch', 'pandas', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registry_keys_are_module_names() -> None:
    for key, kind in [*ATTACKS.items(), *DEFENSES.items()]:
        if key != "none":
            assert kind.__module__.rpartition(".")[2] == key


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Decodr'"):
        sltoolkit.Decodr  # noqa: B018
    assert set(sltoolkit.__all__) <= set(dir(sltoolkit))
