"""The generated pages say what the source code says today."""

import pytest
from support.pages import DOCS

import sltoolkit
from sltoolkit.cli.pages import MARK, pages


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """Path within docs/ -> text."""
    return pages(sltoolkit)


def test_every_generated_page_is_up_to_date(generated: dict[str, str]) -> None:
    kept = {name: DOCS / name for name in generated}
    stale = [
        name
        for name, path in kept.items()
        if not path.is_file() or path.read_text() != generated[name]
    ]
    assert not stale, f"run scripts/docs and commit what changes; stale: {', '.join(stale)}"


def test_no_page_of_a_plugin_that_is_gone_is_left(generated: dict[str, str]) -> None:
    marked = [p for p in DOCS.rglob("*.md") if p.read_text().startswith(MARK)]
    assert {p.relative_to(DOCS).as_posix() for p in marked} == set(generated)
