"""Keys: which changes of code and recipe change them, and which don't."""

from pathlib import Path

import pytest

from sltoolkit.bench.keys import code_of, modules_of
from sltoolkit.defenses import GaussianNoise
from sltoolkit.protocols import Vanilla

PLAIN = '''
"""A module."""

from typing import Annotated

RATE = 0.5
"""The rate."""


class Example:
    """An example."""

    steps: Annotated[int, Parameter("of the descent", least=1, grid=(1, 2))] = 1

    def run(self, x):
        """Run it."""
        return x * RATE  # scaled
'''

SAME = {
    "docstring": ('"""An example."""', '"""A better one."""'),
    "no docstring": ('        """Run it."""\n', ""),
    "attribute's text": ('"""The rate."""\n', ""),
    "comment": ("  # scaled", ""),
    "formatting": ("x * RATE", "(\n            x*RATE\n        )"),
    "meaning": ('"of the descent", ', '"steps of the descent", '),
    "meaning as a keyword": (
        '"of the descent", least=1, grid=(1, 2)', 'meaning="of it", least=1, grid=(1, 2)'
    ),
}  # fmt: skip

OTHER = {
    "constant": ("0.5", "0.25"),
    "code": ("x * RATE", "x / RATE"),
    "range": ("least=1", "least=0"),
    "grid": ("(1, 2)", "(1, 3)"),
    "default": ("] = 1", "] = 2"),
    "what is returned": ('        """Run it."""\n', '        return """Run it."""\n'),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_prose_and_formatting_are_no_code(change: tuple[str, str]) -> None:
    assert PLAIN.count(change[0]) == 1
    assert code_of(PLAIN.replace(*change)) == code_of(PLAIN)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_code_is(change: tuple[str, str]) -> None:
    assert PLAIN.count(change[0]) == 1
    assert code_of(PLAIN.replace(*change)) != code_of(PLAIN)


def test_a_tensor_made_a_parameter_keeps_its_value() -> None:
    one, two = (code_of(f"w = nn.Parameter(torch.full((1,), {x}))") for x in (1, 2))
    assert one != two


def modules(thing: object) -> set[str]:
    return {name.removeprefix("sltoolkit.") for name in modules_of(thing)}


GROUND = {"errors", "streams", "parameters.checking", "parameters.parameter"}

GAUSSIAN_NOISE = {
    *GROUND, "contracts.defense", "defenses.smashed._noise", "defenses.smashed.gaussian_noise",
    "parties.sampling", "privacy.guarantee", "wire.turn",
}  # fmt: skip

VANILLA = {
    *GROUND, "contracts.attack", "contracts.chain", "contracts.defense", "contracts.grants",
    "contracts.knowledge", "models.given",
    "contracts.outcomes", "data.samples", "models.normed", "models.resize",
    "parameters.grids", "parties.honest",
    "parties.received", "parties.sampling", "parties.settings", "parties.stages",
    "privacy.guarantee", "protocols._conversation", "protocols._holdings", "protocols._relay",
    "protocols.vanilla", "training.averaging", "training.cast", "training.casting",
    "training.deployed", "training.guarded", "training.member", "training.merging",
    "training.mixing",
    "training.protocol", "wire.codec",
    "wire.message", "wire.turn", "wire.wire",
}  # fmt: skip


def test_a_defenses_key_depends_on_what_it_runs() -> None:
    assert modules(GaussianNoise) == GAUSSIAN_NOISE


def test_a_protocols_key_depends_on_no_attack_and_no_rehearsal() -> None:
    found = modules(Vanilla)
    assert not [name for name in found if name.startswith(("adversary", "attacks"))]
    assert found == VANILLA


def test_files_are_those_of_the_modules() -> None:
    for name, file in modules_of(GaussianNoise).items():
        assert file.is_file()
        assert file.stem == name.rpartition(".")[2]


def test_a_plugin_of_ones_own_brings_its_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("")
    (package / "plugin.py").write_text(
        "from sltoolkit.streams import Stream\nfrom own_package import helper\nclass Own: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from own_package.plugin import Own  # type: ignore[import-not-found]

    assert set(modules_of(Own)) == {
        "own_package.plugin", "own_package.helper", "sltoolkit.streams",
    }  # fmt: skip
