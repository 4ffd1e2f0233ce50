"""A plug-in that is written outside the repository passes the suite, end to end."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from support.toys import victim
from torch import Tensor

from contract.example_defenses import SoftLabels
from contract.example_hijacker import Hijack
from contract.example_listener import PseudoClient
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.testing import check_attack, check_defense, check_protocol
from sltoolkit.testing.careless import Careless
from sltoolkit.testing.cheats.protocols import Planted
from sltoolkit.testing.sources import sources_of

ATTACK = '''
"""An attack of somebody else's."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from outside_plugins.distances import squared
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NearestView:
    """What it sees."""

    smashed: Tensor
    aux: Aux
    release: Release


@final
@dataclass(frozen=True, kw_only=True)
class Nearest(Attack[NearestView]):
    """The own sample whose release is nearest to what was heard."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = NearestView
    citation: ClassVar[str] = "Somebody 2026"

    def run(self, view: NearestView, *, rng: Stream) -> Reconstruction:
        """Look it up."""
        own = view.release(view.aux.x).mean(0)
        found = squared(view.smashed.mean(0), own).argmin(1)
        return Reconstruction(images=view.aux.x[found])
'''

DISTANCES = '''
"""Distances."""

import torch
from torch import Tensor


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (A, B) of rows (A, ...) and (B, ...)."""
    return torch.cdist(a.flatten(1), b.flatten(1)) ** 2
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package outside the repository."""
    folder = tmp_path / "outside_plugins"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "nearest.py").write_text(ATTACK)
    (folder / "distances.py").write_text(DISTANCES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("outside_plugins")]:
        del sys.modules[name]


def imported() -> ModuleType:
    return importlib.import_module("outside_plugins.nearest")


def test_an_attack_with_a_helper_of_its_own_passes(package: Path) -> None:
    kind = imported().Nearest
    assert set(sources_of(kind)) == {"outside_plugins.nearest", "outside_plugins.distances"}
    check_attack(kind)
    check_attack(kind(), victims=[victim(protocol=UShaped())])


def test_what_its_helper_imports_is_checked_too(package: Path) -> None:
    (package / "distances.py").write_text(
        DISTANCES.replace("import torch", "import gc\nimport torch", 1)
    )
    with pytest.raises(AssertionError, match=r"outside_plugins\.distances imports gc, which an"):
        check_attack(imported().Nearest)


def test_an_attack_that_fits_no_victim_is_told_why(package: Path) -> None:
    wrong = ATTACK.replace("images=view.aux.x[found]", "images=view.aux.x[:1]")
    (package / "nearest.py").write_text(wrong)
    with pytest.raises(AssertionError, match=r"Nearest can't be mounted .* returned shape \(1, "):
        check_attack(imported().Nearest)


def test_something_else_is_no_attack() -> None:
    kind: Any = SoftLabels
    with pytest.raises(AssertionError, match="SoftLabels is no Attack, Listener or ActiveAttack"):
        check_attack(kind)


def test_one_that_needs_arguments_is_told(package: Path) -> None:
    needy = ATTACK.replace("    def run", "    depth: int\n\n    def run")
    (package / "nearest.py").write_text(needy)
    with pytest.raises(AssertionError, match=r"Nearest can't be made without arguments: .*depth"):
        check_attack(imported().Nearest)


def test_a_listener_with_a_loose_view_is_told() -> None:
    @dataclass(kw_only=True)
    class Loose:
        smashed: Tensor

    class Wrong(Careless):
        view: ClassVar[type] = Loose

    with pytest.raises(AssertionError, match="the view Loose must be a frozen dataclass"):
        check_attack(Wrong)


def test_a_listener_passes() -> None:
    check_attack(PseudoClient, protocols=[Vanilla()])


def test_a_hijacker_passes() -> None:
    check_attack(Hijack, protocols=[Vanilla()])


def test_a_defense_passes() -> None:
    check_defense(SoftLabels)
    check_defense(SoftLabels(smoothing=0.2))


def test_without_assertions_nothing_would_be_checked() -> None:
    ran = subprocess.run(
        [sys.executable, "-O", "-c", "import sltoolkit.testing"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "python -O removes the suite's assertions" in ran.stderr


def test_a_protocol_passes() -> None:
    check_protocol(Planted)
    check_protocol(Planted(clients=3))
