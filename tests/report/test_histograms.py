"""The figure of samples per client and class."""

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

from sltoolkit.errors import SpecError
from sltoolkit.report.histograms import class_histograms


def test_areas_are_proportional_to_samples_and_empty_cells_have_none() -> None:
    figure = class_histograms(torch.tensor([[4, 0], [1, 2]]), ["cat", "dog"])

    (bubbles,) = figure.axes[1].collections
    assert isinstance(bubbles, PathCollection)
    places = np.asarray(bubbles.get_offsets()).tolist()
    areas = np.asarray(bubbles.get_sizes())
    assert places == [[0, 0], [1, 0], [1, 1]]
    np.testing.assert_allclose(areas / areas[0], [1, 0.25, 0.5])


def test_sizes_stand_on_top_and_the_title_sums_up() -> None:
    figure = class_histograms(torch.tensor([[4, 0], [1, 2]]), ["cat", "dog"])

    assert [bar.get_height() for bar in figure.axes[0].patches] == [4, 3]  # type: ignore[attr-defined]
    assert figure.axes[0].get_title().startswith("7 samples at 2 clients")


def test_one_client_is_singular_and_alike_itself() -> None:
    title = class_histograms(torch.tensor([[4, 3]]), ["a", "b"]).axes[0].get_title()

    assert title == "7 samples at 1 client\nmean total-variation distance 0.000"


@pytest.mark.parametrize("clients", [1, 3, 120])
def test_labels_of_many_clients_are_thinned_out(clients: int) -> None:
    figure = class_histograms(torch.ones(clients, 2, dtype=torch.int64), ["a", "b"])

    ticks = figure.axes[1].get_xticks()
    assert 1 <= len(ticks) <= 25
    assert ticks[0] == 0


@pytest.mark.parametrize("shape", [(2, 3), (2,), (2, 2, 2)])
def test_counts_that_do_not_fit_the_classes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"need counts of shape \(clients, 2\)"):
        class_histograms(torch.ones(shape, dtype=torch.int64), ["a", "b"])
