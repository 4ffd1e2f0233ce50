"""The trade-off of leak and accuracy, from synthetic rows whose numbers are known."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox
from support.drawings import drawn, written
from support.rows import assert_readable, fail, make_rows, row

from sltoolkit.report.tables import summary
from sltoolkit.report.tradeoff import tradeoff_figure


def many_rows(count: int) -> pd.DataFrame:
    rows = [
        row(defense="noise", defense_params=json.dumps({"std": i}), victim_seed=seed,
            attack="decoder", gain=0.9 - i / count + seed / 50, value=1.0,
            utility=0.8 - i / count / 4 + seed / 50)
        for i in range(count) for seed in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_tradeoff_has_a_panel_per_family_and_labels_every_point() -> None:
    figure = tradeoff_figure(summary(make_rows()))
    assert len(figure.axes) == 2
    for axis in figure.axes:
        texts = {t.get_text() for t in axis.texts}
        assert {"undefended", "gaussian noise (std=0.5)", "gaussian noise (std=2)"} <= texts
    assert "hypervolume" in figure.axes[0].get_title()
    assert drawn(figure).std() > 5
    assert_readable(figure)
    assert len(tradeoff_figure(summary(make_rows()), "labels").axes) == 1


def test_hypervolume_and_front_are_those_of_the_points() -> None:
    table = summary(make_rows(with_labels=False))
    figure = tradeoff_figure(table)
    front = next(x for x in figure.axes[0].lines if x.get_linestyle() == "--")
    assert np.asarray(front.get_xdata()).tolist() == pytest.approx([0.70, 0.79, 0.82])
    strong, weak, none = (table["reconstruction_gain_high"].iloc[i] for i in (2, 1, 0))
    area = 0.70 * (1 - strong) + 0.09 * (1 - weak) + 0.03 * (1 - none)
    assert none > 0.84  # the upper end, which ranks
    assert f"hypervolume {area:.3f}" in figure.axes[0].get_title()


def test_incomplete_points_are_hollow_and_off_the_front() -> None:
    table = summary(fail(make_rows(with_labels=False), "strong", "decoder", 0))
    axis = tradeoff_figure(table).axes[0]
    hollow = [x for x in axis.lines if x.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    front = next(x for x in axis.lines if x.get_linestyle() == "--")
    assert np.asarray(front.get_xdata()).tolist() == pytest.approx([0.79, 0.82])


@pytest.mark.parametrize("count", [1, 9, 30])
def test_labels_of_a_figure_do_not_overlap(count: int) -> None:
    figure = tradeoff_figure(summary(many_rows(count)))
    axis = figure.axes[0]
    drawn(figure)
    boxes = [t.get_window_extent() for t in axis.texts if t.get_text()]
    boxes = [Bbox.from_bounds(b.x0, b.y0, b.width, b.height) for b in boxes]
    assert len(boxes) == count
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            shared = Bbox.intersection(one, other)
            assert shared is None or shared.width * shared.height < 1
    assert_readable(figure)
    if count == 30:
        assert any("noise (std=29)" in text for text in written(figure))
