"""Curves for papers, from synthetic rows whose numbers are known."""

from typing import Any, cast

import pytest
import torch
from support.charts import only, row
from support.rows import assert_readable

from sltoolkit.metrics import t_interval
from sltoolkit.report.canvas import COLUMN, PAGE
from sltoolkit.report.curves import curves_figure
from sltoolkit.report.series import CROWD
from sltoolkit.report.styles import ORDER


def test_one_defense_fills_a_column_and_several_a_page() -> None:
    one = [row(cut=c) for c in "ab"]
    noisy = [row(cut=c, defense="gaussian_noise", defense_params='{"std": 1.0}') for c in "ab"]
    assert curves_figure(only(one)).get_figwidth() == COLUMN
    both = curves_figure(only(one + noisy))
    assert both.get_figwidth() == PAGE
    assert [a.get_title() for a in both.axes] == ["undefended", "gaussian noise (std=1)"]
    assert [t.get_text() for t in both.legends[0].get_texts()] == ["decoder", "prior alone"]


@pytest.mark.parametrize(("count", "shape"), [(3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (2, 4))])
def test_panels_fill_their_rows(count: int, shape: tuple[int, int]) -> None:
    rows = [row(cut=c, defense=f"noise{i}") for c in "ab" for i in range(count)]
    figure = curves_figure(only(rows))
    spec: Any = figure.axes[0].get_gridspec()
    assert spec.get_geometry() == shape
    assert_readable(figure)


def test_the_line_of_a_figure_passes_through_its_points() -> None:
    values = {"a": (0.2, 0.4), "b": (0.7, 0.9)}
    rows = [
        row(cut=c, victim_seed=s, value=v) for c, vs in values.items() for s, v in enumerate(vs)
    ]
    axis = curves_figure(only(rows)).axes[0]
    drawn = torch.as_tensor(axis.lines[0].get_ydata())
    torch.testing.assert_close(drawn, torch.tensor([0.3, 0.8], dtype=torch.float64))
    (band,) = axis.collections
    low = t_interval(values["a"]).low
    edge = torch.as_tensor(band.get_paths()[0].vertices)[:, 1]
    assert float(edge.min()) == pytest.approx(low)


def test_a_crowd_of_attacks_has_a_panel_per_knowledge_the_strongest_first() -> None:
    knows = {"whitebox": "aux+client_weights+smashed", "unsplit": "client_arch+smashed"}
    names = list(ORDER)[:CROWD]
    crowd = [*names, *(n for n in knows if n not in names), "mine"]
    rows = [
        row(cut=c, attack=a, knowledge=knows.get(a, "aux+release+smashed"))
        for c in "ab" for a in crowd
    ]  # fmt: skip
    figure = curves_figure(only(rows))
    legends: list[Any] = [a.get_legend() for a in figure.axes if a.get_visible()]
    assert [legend.get_title().get_text().replace("\n", " ") for legend in legends] == [
        "the client's weights, own samples", "queries, own samples", "the client's architecture",
    ]  # fmt: skip
    first, _, last = [[t.get_text() for t in legend.get_texts()] for legend in legends]
    assert (first, last) == (["white box"], ["UnSplit"])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["prior alone"]
    assert len(figure.axes[0].lines) == 2  # the white box, and the prior alone
    assert_readable(figure)
    few = [r for r in rows if r["attack"] in crowd[:CROWD]]
    assert len(curves_figure(only(few)).axes) == 1


def test_places_without_order_are_not_joined() -> None:
    rows = [
        row(swept=f"data.aux_from={name}", victim_seed=s, value=v)
        for name, vs in {"mnist": (0.8, 0.9), "fashion": (0.5, 0.7)}.items()
        for s, v in enumerate(vs)
    ]  # fmt: skip
    figure = curves_figure(only(rows))
    axis = figure.axes[0]
    method, prior = figure.legends[0].get_lines()
    assert (method.get_linestyle(), prior.get_linestyle()) == ("None", "-.")
    shown: list[list[float]] = [list(map(float, cast(Any, x.get_ydata()))) for x in axis.lines]
    assert shown == [pytest.approx([0.85]), pytest.approx([0.6])]


def test_titles_name_what_was_varied_besides_in_words() -> None:
    rows = [
        row(swept=f"data.aux={n}, data.aux_from=fashion_mnist", dataset="mnist") for n in (5, 9)
    ]  # fmt: skip
    title = curves_figure(only(rows)).get_suptitle().replace("\n", " ")
    assert title == "MNIST, LeNet, cut conv1, vanilla, own samples from Fashion-MNIST"


def test_a_figure_says_if_its_bands_are_over_the_targets_of_one_network() -> None:
    one = [row(cut=c, ci_low=0.4, ci_high=0.6) for c in "ab"]
    several = [row(cut=c, victim_seed=s) for c in "ab" for s in range(2)]
    titles = [
        curves_figure(only(rows)).get_suptitle().replace("\n", " ") for rows in (one, several)
    ]
    assert ["intervals over targets" in title for title in titles] == [True, False]
