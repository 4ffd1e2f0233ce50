"""The pages of the documentation: their fenced blocks, made quicker, run and checked.

All blocks of Python of a page run in order as one module. A comment right above a block makes it
quicker for its test, with one replacement per line:

    <!-- test: epochs=20 -> epochs=1 -->
"""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"))
)
"""The pages: README, CONTRIBUTING and everything in docs/, generated pages included."""

_BLOCK = re.compile(
    r"(?:^<!-- test:(?P<notes>(?:(?!-->).)*)-->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: the line above its text, and its text made quicker."""

    line: int
    text: str


def page_text(name: str) -> str:
    """A page, by its path within the repository."""
    return (ROOT / name).read_text()


def blocks(markdown: str, kind: str) -> list[Block]:
    """All blocks of a language, in order; an empty language selects blocks without one."""
    found = (m for m in _BLOCK.finditer(markdown) if m["kind"] == kind)
    return [
        Block(line=markdown[: m.start("text")].count("\n"), text=quicker(m["text"], m["notes"]))
        for m in found
    ]


def prose(markdown: str) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", markdown)


def quicker(text: str, notes: str | None) -> str:
    """The text after the replacements in its comment, each of which must apply."""
    for note in filter(None, map(str.strip, (notes or "").splitlines())):
        old, arrow, new = note.partition(" -> ")
        assert arrow, f"a replacement is written OLD -> NEW, got {note!r}"
        assert old in text, f"the block no longer says {old!r}"
        text = text.replace(old, new)
    return text


def run(parts: list[Block], folder: Path) -> None:
    """Run blocks as one module whose line numbers are those of the page."""
    source = ""
    for block in parts:
        source += "\n" * (block.line - source.count("\n")) + block.text
    path = folder / "page.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page"] = module  # dataclasses and type hints look up their module there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["page"]
