"""Adding an attack or a defense takes one file and one line, as a copy of the repository shows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.rooms import ROOT

FOLDERS = ("sltoolkit", "attacks", "defenses", "tests")

NEAREST = '''"""Retrieval by squared distance: the aux image whose smashed data are nearest."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class NearestView:
    """What it knows."""

    smashed: Tensor
    aux: Aux
    release: Release


@final
@dataclass(frozen=True, kw_only=True)
class Nearest(Attack[NearestView]):
    """The aux image whose smashed data are nearest."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = NearestView
    citation: ClassVar[str] = "nobody 2026"

    repeats: Annotated[int, Parameter("queries per aux image", least=1)] = 1

    def run(self, view: NearestView, *, rng: Stream) -> Reconstruction:
        """Look them up."""
        known = view.release(view.aux.x, repeats=self.repeats).mean(0).flatten(1)
        heard = view.smashed.mean(0).flatten(1)
        return Reconstruction(images=view.aux.x[torch.cdist(heard, known).argmin(1)])
'''
NEAREST_LINE = "from sltoolkit.attacks.inversion.nearest import Nearest as Nearest"

SCALING = '''"""Smashed data scaled down."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class Scaling(Defense):
    """What is sent is scaled down."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "share"

    share: Annotated[float, Parameter("that is taken away", least=0, below=1)] = 0.5

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Scale it."""
        return z * (1 - self.share)
'''
SCALING_LINE = "from sltoolkit.defenses.smashed.scaling import Scaling as Scaling"

KNOWN = """
import json, sys
from pathlib import Path
import sltoolkit as sl
from sltoolkit.attacks import Nearest
from sltoolkit.bench.run import run_bench
from sltoolkit.cli.catalog import describe, entries
from sltoolkit.defenses import Scaling

spec = {
    "seeds": [0], "data": {"name": "digits", "train": 60, "holdout": 30, "aux": 30},
    "model": {"name": "mlp", "cut": "relu1", "hidden": [8]}, "training": {"epochs": 1},
    "targets": {"count": 2, "labels": 8}, "demonstration": True,
    "defense": [{"name": "scaling", "share": 0.25}], "attack": [{"name": "nearest", "repeats": 2}],
}
rows = run_bench(spec, Path(sys.argv[1])).rows
print(json.dumps({
    "registered": [sl.ATTACKS["nearest"] is sl.Nearest is Nearest,
                   sl.DEFENSES["scaling"] is sl.Scaling is Scaling],
    "public": ["Nearest" in sl.__all__, "Scaling" in dir(sl)],
    "listed": ["nearest" in [e["name"] for e in entries("attacks")],
               "scaling" in [e["name"] for e in entries("defenses")]],
    "described": [describe("nearest")["parameters"]["repeats"]["meaning"],
                  describe("scaling")["parameters"]["share"]["meaning"]],
    "rows": sorted({(r["attack"], r["defense"], r["status"]) for r in rows.to_dict("records")}),
}))
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with one more attack and one more defense."""
    root = tmp_path_factory.mktemp("copy")
    for name in FOLDERS:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", root)
    add(root / "attacks", "inversion/nearest.py", NEAREST, NEAREST_LINE)
    add(root / "defenses", "smashed/scaling.py", SCALING, SCALING_LINE)
    return root


def add(package: Path, file: str, source: str, line: str) -> None:
    """Add a plug-in: one file, and one line in the registry."""
    (package / file).write_text(source)
    registry = package / "__init__.py"
    lines = registry.read_text().splitlines()
    others = [i for i, one in enumerate(lines) if one.startswith("from sltoolkit.contracts")]
    registry.write_text("\n".join([*lines[: others[-1]], line, *lines[others[-1] :], ""]))


def in_copy(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_everything_knows_them(copied: Path) -> None:
    done = in_copy(copied, "-c", KNOWN, str(copied / "runs"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "registered": [True, True], "public": [True, True], "listed": [True, True],
        "described": ["queries per aux image", "that is taken away"],
        "rows": [["nearest", "scaling", "ok"]],
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [("attacks", "nearest"), ("defenses", "scaling")])
def test_the_contract_suite_checks_them(copied: Path, kind: str, name: str) -> None:
    done = in_copy(
        copied, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider",
        f"tests/contract/test_{kind}.py", "-k", name,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_type_checkers_know_them(copied: Path) -> None:
    (copied / "use.py").write_text(
        "import sltoolkit as sl\n"
        "reveal_type(sl.Nearest().repeats)\n"
        "reveal_type(sl.Scaling().share)\n"
    )
    done = in_copy(copied, "-m", "mypy", "use.py")
    assert done.returncode == 0, done.stdout
    assert [line.split('"')[1] for line in done.stdout.splitlines() if "Revealed" in line] == [
        "int", "float",
    ]  # fmt: skip
