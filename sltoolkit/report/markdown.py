"""Docstrings and tables as Markdown."""

import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):$")
_ENTRY = re.compile(r"^\w[\w, ]*:")
_NUMBER = re.compile(r"^\d+\. ")
_LABEL = re.compile(r"^(Adversary|Idea|Adaptive|Symbols|Rates|Source|Departures?)(?=:| \(| from)")
_CODE = re.compile(r"(`[^`]*`)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; an empty cell shows as `-`.

    Args:
        header: the names of the columns.
        rows: rows with one cell per column.
    """
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(names: Iterable[str]) -> str:
    """Names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line and without the period."""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\w)\. (?=[A-Z])", paragraph)[0].rstrip(".")


def prose(docstring: str) -> str:
    """A docstring as Markdown: indented lines become code blocks, sections become lists.

    Args:
        docstring: cleaned of its indentation, as `inspect.getdoc` returns it.
    """
    return "\n\n".join(_paragraph(p) for p in docstring.strip("\n").split("\n\n"))


def without_sections(docstring: str) -> str:
    """A docstring without `Args:`, `Attributes:`, `Returns:` and `Raises:`."""
    kept = [p for p in docstring.split("\n\n") if not _SECTION.match(p.split("\n")[0])]
    return "\n\n".join(kept)


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if _SECTION.match(lines[0]):
        return f"**{lines[0]}**\n\n{_entries(lines[1:])}"
    parts: list[str] = []
    for kind, block in _blocks(lines):
        if kind == "code":
            parts.append("\n".join(["```text", *_dedented(block), "```"]))
        else:
            parts.append("\n".join(_LABEL.sub(r"**\1**", _escaped(line)) for line in block))
    return "\n\n".join(parts)


def _blocks(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Successive lines of prose, of code (indented, but not within a list), and of a list."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        inside_list = bool(found) and found[-1][0] == "list"
        if _NUMBER.match(line) or (inside_list and line.startswith("   ")):
            kind = "list"
        else:
            kind = "code" if line.startswith("    ") else "prose"
        if found and found[-1][0] == kind:
            found[-1][1].append(line)
        else:
            found.append((kind, [line]))
    return found


def _entries(lines: Sequence[str]) -> str:
    """The entries of a section as a list; a line that is indented further continues an entry."""
    shortest = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    shown = []
    for line in (line[shortest:] for line in lines):
        if _ENTRY.match(line):
            name, _, rest = line.partition(":")
            shown.append(f"- `{name}`:{_escaped(rest)}")
        else:
            shown.append(f"{'  ' if shown else ''}{_escaped(line.strip())}")
    return "\n".join(shown)


def _dedented(lines: Sequence[str]) -> list[str]:
    shortest = min(len(line) - len(line.lstrip()) for line in lines)
    return [line[shortest:] for line in lines]


def _escaped(line: str) -> str:
    """The line with `<` escaped, except within code."""
    parts = _CODE.split(line)
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "-"
