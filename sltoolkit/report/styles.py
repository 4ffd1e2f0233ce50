"""The look of each method: the same color, mark and line in every figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final
from zlib import crc32

from sltoolkit.report.canvas import COLORS

ORDER = (
    "whitebox", "decoder", "regression", "sdar", "fsha", "retrieval", "unsplit",
    "shadow", "pcat", "colluding", "fora", "deep_image_prior", "inverting_gradients", "dlg",
    "first_layer", "idlg",
)  # fmt: skip
"""Methods in the order in which they take colors; the look of others follows from their names.

Never reorder them: a method keeps its look from paper to paper.
"""

LineStyle = Literal["-", "--", ":", "-."]

_LINES: tuple[LineStyle, ...] = ("-", "--", ":")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_APART = 3  # marks from variant to variant; those between belong to methods of the same color


@final
@dataclass(frozen=True, kw_only=True)
class Style:
    """A color, a line and a mark, as matplotlib names them."""

    color: str
    linestyle: LineStyle
    marker: str


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """The look of each method.

    Args:
        methods: names of attacks, with the parameters in brackets that tell variants apart. The
            variants of one method share its color and have different lines and marks.
    """
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    names = list(dict.fromkeys(methods))
    bare = {name: name.partition("(")[0].partition(" [")[0] for name in names}
    for name in names:
        place, variant = _place(bare[name]), seen.get(bare[name], 0)
        seen[bare[name]] = variant + 1
        found[name] = Style(
            color=COLORS[place % len(COLORS)],
            linestyle=_LINES[(place // len(COLORS) + variant) % len(_LINES)],
            marker=_MARKS[(place + place // len(COLORS) + _APART * variant) % len(_MARKS)],
        )
    return found


def _place(name: str) -> int:
    if name in ORDER:
        return ORDER.index(name)
    return len(ORDER) + crc32(name.encode()) % (len(COLORS) * len(_MARKS) - len(ORDER))
