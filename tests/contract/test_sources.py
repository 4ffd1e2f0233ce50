"""What the files of plug-ins and of the attacker's toolbox import, read and name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sltoolkit.testing import sources
from sltoolkit.testing.cheats import attacks as cheats

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "attacks": sources.ATTACKS,
    "sltoolkit/adversary": sources.ATTACKS,
    "sltoolkit/networks": sources.ATTACKS,
    "defenses": sources.DEFENSES,
}
IMPORTS = {
    "sltoolkit/adversary/own_defense.py": {
        "sltoolkit.wire.turn": "makes its own turns for its copy of the defense"
    },
    "sltoolkit/adversary/own_victim.py": {
        "sltoolkit.models.resize": "draws the weights of a granted architecture anew"
    },
}
"""What single files of the toolbox may import beyond the rules, and why."""

PRIVATES = {"sltoolkit/networks/stacked.py": "replaces torch's layers within their parent"}
"""Files that may read private attributes of others, and why."""

DEVICES = {
    "sltoolkit/adversary/memory.py": "asks how much memory a device of this kind has",
    "sltoolkit/networks/inverse.py": "builds a network, which its caller moves",
}
"""Files that may name a device or make tensors on the default one, and why."""


def files() -> Iterator[Any]:
    """Every file with its folder's rules and its path; registries are left out."""
    for folder, rules in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py":
                yield pytest.param(path.read_text(), name, rules, id=name)


each_file = pytest.mark.parametrize(("text", "name", "rules"), list(files()))


@each_file
def test_it_imports_nothing_that_holds_the_truth(
    text: str, name: str, rules: sources.Rules
) -> None:
    sources.check_imports(text, name, rules, besides=frozenset(IMPORTS.get(name, ())))


@each_file
def test_it_minds_its_own_business(text: str, name: str, rules: sources.Rules) -> None:
    if name not in PRIVATES:
        sources.check_own_privates(text, name)


@each_file
def test_it_runs_on_any_device(text: str, name: str, rules: sources.Rules) -> None:
    if name not in DEVICES:
        sources.check_device_agnostic(text, name)


@pytest.mark.parametrize("name", [*IMPORTS, *PRIVATES, *DEVICES])
def test_every_exception_is_needed(name: str) -> None:
    text = (ROOT / name).read_text()
    check = sources.check_own_privates if name in PRIVATES else sources.check_device_agnostic
    modules = frozenset(IMPORTS.get(name, ()))
    for module in modules:
        with pytest.raises(AssertionError, match=f"imports {module}"):
            sources.check_imports(text, name, besides=modules - {module})
    if not modules:
        with pytest.raises(AssertionError, match=name):
            check(text, name)


@pytest.mark.parametrize(
    "line",
    [
        "from sltoolkit.referee.judge import score", "import sltoolkit.api",
        "from sltoolkit import train", "x = getattr(release, '_ask')",
        "from sltoolkit.training.victim import Victim", "from sltoolkit.referee.judge import Truth",
        "from sltoolkit.metrics import leak_auc", "from sltoolkit.metrics.labels import accuracy",
        "from sltoolkit.data.targets import image_targets", "import gc", "import inspect",
        "import sys",
        "from pathlib import Path", "import sltoolkit",
        "from sltoolkit.parties.settings import Training",
        "from sltoolkit.data.samples import Split",
        "x = release._ask.__closure__", "y = __import__('gc')",
        "import torch; torch.manual_seed(0)", "from sltoolkit.testing.toys import split",
        "from sltoolkit.wire.wire import Wire",
    ],
)  # fmt: skip
def test_the_import_rule_catches(line: str) -> None:
    with pytest.raises(AssertionError, match="an attack must not"):
        sources.check_imports(line, "cheat.py")


@pytest.mark.parametrize(
    "line",
    [
        "from sltoolkit.attacks.inversion.decoder import Decoder",
        "from sltoolkit.adversary.descent import Descent",
        "from sltoolkit.referee.judge import judge", "import gc",
    ],
)  # fmt: skip
def test_the_import_rule_catches_in_a_defense(line: str) -> None:
    with pytest.raises(AssertionError, match="a defense must not"):
        sources.check_imports(line, "cheat.py", sources.DEFENSES)


def test_reading_others_private_attributes_is_caught() -> None:
    text = Path(str(cheats.__file__)).read_text()
    with pytest.raises(AssertionError, match="none of its business"):
        sources.check_own_privates(text, "attacks.py")
    sources.check_own_privates(
        "class A:\n    def f(self):\n        self._x = 1\n        return self._x", "a"
    )


@pytest.mark.parametrize(
    "line",
    [
        "x = y.cuda()", "x = y.to('cuda:0')", "d = torch.device('cpu')", "x = torch.zeros(3)",
        "x = torch.randn(3, device=y.device, generator=rng.torch())", "x = y.cpu()",
    ],
)  # fmt: skip
def test_a_fixed_device_is_caught(line: str) -> None:
    with pytest.raises(AssertionError, match=r"a\.py:1"):
        sources.check_device_agnostic(line, "a.py")


@pytest.mark.parametrize(
    "line",
    [
        "x = torch.zeros(3, device=y.device)", "x = torch.zeros(3).to(y)",
        "x = torch.randn(3, device=y.device, generator=rng.torch(y.device))",
        "i = torch.randperm(3, generator=rng.torch()).split(2)",
    ],
)  # fmt: skip
def test_following_the_inputs_device_is_not(line: str) -> None:
    sources.check_device_agnostic(line, "a.py")
