"""The generated pages of docs/: their list and their texts."""

from pathlib import Path
from types import ModuleType

import pytest

import sltoolkit
from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.pages import MARK, pages, write_pages
from sltoolkit.defenses import DEFENSES
from sltoolkit.metrics import METRICS
from sltoolkit.protocols import PROTOCOLS


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The generated pages: path within docs/ -> text."""
    return pages(sltoolkit)


def test_every_plugin_has_a_page_and_a_line_in_its_index(generated: dict[str, str]) -> None:
    kinds = {"attacks": ATTACKS, "defenses": DEFENSES, "protocols": PROTOCOLS, "metrics": METRICS}
    for kind, registry in kinds.items():
        for name in registry:
            assert generated[f"{kind}/{name}.md"].startswith(f"{MARK}\n\n# `{name}`\n")
            assert f"[`{name}`]({name}.md)" in generated[f"{kind}/index.md"]


def test_grants_name_the_attacks_that_want_them(generated: dict[str, str]) -> None:
    (line,) = (x for x in generated["concepts/grants.md"].splitlines() if x.startswith("| `hints`"))
    assert line.endswith("| - | `direction`, `norm` |")


def test_the_api_page_lists_every_public_name(generated: dict[str, str]) -> None:
    page = generated["api.md"]
    for name in sltoolkit.__all__:
        assert f"| `{name}`" in page or f"| `{name}(" in page
    assert "| `table(results, accuracy_budget)` |" in page
    assert "`attack(victim, attack, *, seed, " in page
    assert "[page](attacks/whitebox.md)" in page


def test_a_public_name_without_a_docstring_is_refused() -> None:
    package = ModuleType("package")
    package.__all__ = ["silent"]  # type: ignore[attr-defined]
    package.silent = lambda: None  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="silent is public and has no docstring"):
        pages(package)


def test_writing_removes_what_is_gone_and_leaves_other_pages_alone(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "gone.md").write_text(f"{MARK}\n\n# `gone`\n")
    (tmp_path / "index.md").write_text("# Written by hand\n")
    write_pages(tmp_path, sltoolkit)
    written = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*.md")}
    assert written == generated | {"index.md": "# Written by hand\n"}
