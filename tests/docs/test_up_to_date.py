"""The generated pages say what the source code says today."""

from pathlib import Path

import pytest
from support.pages import DOCS

from sltoolkit.cli.pages import MARK, pages, write_pages


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """Path within docs/ -> text."""
    return pages()


def test_every_generated_page_is_up_to_date(generated: dict[str, str]) -> None:
    stale = [name for name, text in generated.items() if not _same(DOCS / name, text)]
    assert not stale, f"run scripts/docs and commit what changes; stale: {', '.join(stale)}"


def test_no_page_of_a_plugin_that_is_gone_is_left(generated: dict[str, str]) -> None:
    marked = [p for p in DOCS.rglob("*.md") if p.read_text().startswith(MARK)]
    assert {p.relative_to(DOCS).as_posix() for p in marked} == set(generated)


def test_writing_removes_what_is_gone_and_leaves_other_pages_alone(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "gone.md").write_text(f"{MARK}\n\n# `gone`\n")
    (tmp_path / "index.md").write_text("# Written by hand\n")
    write_pages(tmp_path)
    written = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*.md")}
    assert written == generated | {"index.md": "# Written by hand\n"}


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text
