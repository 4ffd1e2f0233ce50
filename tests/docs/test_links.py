"""Every relative link and image leads to a file, and to a heading if it names one."""

import re
from pathlib import Path

import pytest
from support.pages import DOCS, PAGES, ROOT, page_text, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CHECKED = [*PAGES, "CHANGELOG.md", "reproductions/RESULTS.md"]


def links(markdown: str) -> list[str]:
    """Targets of links and sources of images, without those on other hosts."""
    found = (a or b for a, b in _LINK.findall(re.sub(r"`[^`]*`", "", prose(markdown))))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(markdown))
    return {heading.replace(" ", "-") for heading in plain}


def broken(name: str, markdown: str) -> list[str]:
    """The links of a page that lead to nothing."""
    found = []
    for target in links(markdown):
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        there = file.is_relative_to(ROOT.resolve()) and file.exists()
        if not there or (anchor and anchor not in anchors(file.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("name", _CHECKED)
def test_no_link_is_broken(name: str) -> None:
    assert not broken(name, page_text(name))


def test_a_broken_link_is_found() -> None:
    page = "[a](gone.md) [b](index.md#nowhere) ![c](figures/gone.png) [d](https://example.org)"
    assert broken("docs/x.md", page) == ["gone.md", "index.md#nowhere", "figures/gone.png"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (target.partition("#")[0] for target in links(page.read_text()))
        waiting += [page.parent / target for target in targets if target]
    assert {p.resolve() for p in DOCS.rglob("*.md")} <= seen


def test_every_module_that_the_architecture_names_exists() -> None:
    named = re.findall(r"\b(?:\w+/)+\w+\.py\b", page_text("docs/architecture.md"))
    assert len(named) > 30
    gone = [n for n in named if not any((top / n).exists() for top in (ROOT, ROOT / "sltoolkit"))]
    assert not gone


def test_every_figure_is_shown() -> None:
    shown = {
        (Path(name).parent / target).name for name in PAGES for target in links(page_text(name))
    }
    assert {path.name for path in (DOCS / "figures").iterdir()} <= shown
