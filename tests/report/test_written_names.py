"""Names as papers write them."""

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.defenses import DEFENSES
from sltoolkit.models import MODELS
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.written_names import WRITTEN, written


@pytest.mark.parametrize(
    ("text", "as_written"),
    [
        ("whitebox", "white box"),
        ("deep_image_prior", "deep image prior"),
        ("dp_activations(epsilon=5)", "DP activations (ε=5)"),
        ("gaussian_noise(std=0.5)+nopeek(weight=1)", "gaussian noise (std=0.5)+NoPeek (weight=1)"),
        ("cut after conv1", "cut after conv1"),
        ("already written (so)", "already written (so)"),
        ("", ""),
    ],
)
def test_every_name_in_a_label_is_written_as_papers_do(text: str, as_written: str) -> None:
    assert written(text) == as_written


@pytest.mark.parametrize("registry", [ATTACKS, DEFENSES, PROTOCOLS, MODELS], ids=lambda r: len(r))
def test_no_two_plugins_are_written_alike(registry: dict[str, object]) -> None:
    names = [written(name) for name in registry]

    assert len(set(names)) == len(names)
    assert not any("_" in name for name in names)


def test_nothing_is_listed_that_underscores_alone_would_give() -> None:
    assert not [name for name, text in WRITTEN.items() if name.replace("_", " ") == text]


def test_figures_write_names_as_papers_do() -> None:
    assert written("sdar(lr=1)") == "SDAR (lr=1)"
    assert written("deep_image_prior") == "deep image prior"
    assert written("gaussian_noise(std=1)+nopeek") == "gaussian noise (std=1)+NoPeek"
    assert written("dp_activations(epsilon=2)") == "DP activations (ε=2)"
