"""The figures of costs show break-evens and best cuts."""

from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D

from sltoolkit.costs import latency, registered_costs, singh
from sltoolkit.report.costs import communication_figure, latency_figure


def test_a_figure_shows_the_break_even_and_the_best_cut() -> None:
    split = {c.at: c for c in registered_costs("mlp", (1, 8, 8), classes=10)}["relu1"]
    work = split.workload(clients=1, samples=1797)
    figure = communication_figure(work, [1, 5, 20], title="mlp")
    even = singh.break_even_clients(
        params=work.params, samples=work.samples, cut_width=work.cut_width
    )
    first, _, plane = figure.axes[:3]
    vertical = [xs(line)[0] for line in first.lines if line.get_linestyle() == ":"]
    assert even in vertical
    hyperbola = plane.lines[1]
    product = xs(hyperbola) * np.asarray(hyperbola.get_ydata())
    assert product == pytest.approx(even * work.params)

    times = {p: {"a": 9.0, "b": 4.0 + i} for i, p in enumerate(latency.SPLIT_PROTOCOLS)}
    drawn = latency_figure({1: times, 2: times, 3: times}, {1: 7, 2: 7, 3: 7}, title="mlp")
    for axis in drawn.axes[:3]:
        stars = [line for line in axis.lines if line.get_marker() == "*" and len(xs(line))]
        assert [list(xs(line)) for line in stars] == [["b"]] * 3
    assert not drawn.axes[3].axison


def xs(line: Line2D) -> np.ndarray[Any, Any]:
    return np.asarray(line.get_xdata(orig=True))
