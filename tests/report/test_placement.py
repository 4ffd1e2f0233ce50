"""Labels of points: inside, apart, and never on a point."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Annotation

from sltoolkit.report.canvas import Figure
from sltoolkit.report.placement import Labeled, place

DPI = 100


def placed(labeled: list[Labeled]) -> tuple[Axes, list[Annotation], list[np.ndarray]]:
    """The axes, the labels, and the boxes of their texts in pixels."""
    figure = Figure(figsize=(5, 4), dpi=DPI)
    axis = figure.subplots()
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    renderer: RendererAgg = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    place(axis, labeled, renderer, DPI)
    notes = [t for t in axis.texts if isinstance(t, Annotation)]
    boxes = [
        np.array(super(Annotation, note).get_window_extent(renderer).extents) for note in notes
    ]
    return axis, notes, boxes


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(sides.clip(0)))


CROWD: list[Labeled] = [(0.5 + 0.02 * i, 0.5 - 0.03 * i, f"method {i}") for i in range(6)]


@pytest.mark.parametrize(
    "labeled",
    [[(0.5, 0.5, "one")], [(0.01, 0.99, "corner"), (0.99, 0.01, "the other corner")], CROWD],
    ids=["alone", "corners", "crowd"],
)
def test_labels_lie_inside_and_cover_neither_each_other_nor_a_point(
    labeled: list[Labeled],
) -> None:
    axis, notes, boxes = placed(labeled)

    assert [note.get_text() for note in notes] == [text for _, _, text in labeled]
    inside = np.array(axis.bbox.extents)
    points = [axis.transData.transform((x, y)) for x, y, _ in labeled]
    for box in boxes:
        assert (box[:2] >= inside[:2]).all()
        assert (box[2:] <= inside[2:]).all()
        assert not [p for p in points if (box[:2] < p).all() and (p < box[2:]).all()]
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair) > 0]


def test_only_a_label_far_from_its_point_has_a_line() -> None:
    _, (alone,), _ = placed([(0.5, 0.5, "one")])
    _, crowd, _ = placed([(0.5, 0.5, f"the same place {i}") for i in range(8)])

    def drawn(note: Annotation) -> bool:
        return note.arrow_patch is not None and note.arrow_patch.get_visible()

    assert not drawn(alone)
    assert any(drawn(note) for note in crowd)


def test_where_there_is_no_room_every_label_is_still_written() -> None:
    _, notes, _ = placed([(0.5, 0.5, f"a rather long label, number {i}") for i in range(60)])

    assert len(notes) == 60
