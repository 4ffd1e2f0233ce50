"""How a method looks: the same colour, mark and line in every figure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

from sltoolkit.report.canvas import COLORS

ORDER = (
    "whitebox", "decoder", "regression", "sdar", "fsha", "retrieval", "unsplit",
    "shadow", "pcat", "colluding", "fora", "deep_image_prior", "inverting_gradients", "dlg",
    "first_layer", "idlg",
)  # fmt: skip
"""Methods in the order in which they take colours; a method that isn't named comes after them.

Never reorder: a method keeps its look from paper to paper.
"""

LineStyle = Literal["-", "--", ":", "-."]

_LINES: tuple[LineStyle, ...] = ("-", "--", ":")
_MARKS = ("o", "s", "^", "D", "v", "P", "X")


@final
@dataclass(frozen=True, kw_only=True)
class Style:
    """A colour, a line and a mark, as matplotlib names them."""

    color: str
    linestyle: LineStyle
    marker: str


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """The look of each method.

    Args:
        methods: attacks by name, with their parameters in brackets where those tell two apart;
            further variants of one method take the line after it.
    """
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    names = list(dict.fromkeys(methods))
    bare = {name: name.partition("(")[0].partition(" [")[0] for name in names}
    unknown = sorted({b for b in bare.values() if b not in ORDER})
    places = {name: place for place, name in enumerate((*ORDER, *unknown))}
    for name in names:
        place, variant = places[bare[name]], seen.get(bare[name], 0)
        seen[bare[name]] = variant + 1
        found[name] = Style(
            color=COLORS[place % len(COLORS)],
            linestyle=_LINES[(place // len(COLORS) + variant) % len(_LINES)],
            marker=_MARKS[(place + place // len(COLORS) + variant) % len(_MARKS)],
        )
    return found
