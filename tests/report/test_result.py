"""How results look in a notebook."""

from dataclasses import replace

import matplotlib.pyplot
import pytest
from IPython.core.formatters import PNGFormatter
from matplotlib.figure import Figure
from support.toys import CUT, TARGETS, network, split

import sltoolkit as sl

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def victim() -> sl.Victim:
    """A victim after a short training, for tests that only look."""
    return sl.train(network, split(), cut=CUT, training=sl.Training(epochs=1), targets=TARGETS)


def test_a_figure_shows_itself_where_pyplot_was_never_imported(victim: sl.Victim) -> None:
    show = PNGFormatter()  # the method that a notebook calls, without pyplot's formatter
    assert show(sl.attack(victim, sl.Decoder.smoke()).figure(3)).startswith(PNG)
    assert show(Figure()) is None  # matplotlib's own figure is not shown
    assert not matplotlib.pyplot.get_fignums()


def test_a_result_shows_each_metric_beside_the_prior_and_the_knowledge(victim: sl.Victim) -> None:
    result = sl.attack(victim, sl.Decoder.smoke())
    shown = result._repr_html_()
    for row in result.rows().to_dict("records"):
        assert f"<td>{row['metric']}</td>" in shown
        assert f"<td>{row['baseline']:.3g} ({row['baseline_name']})</td>" in shown
        for low, high in (("ci_low", "ci_high"), ("gain_low", "gain_high")):
            assert f"<td>{row[low]:.3g} to {row[high]:.3g}</td>" in shown
    assert "the server knows aux, labels, release, smashed" in shown


def test_a_metric_of_the_whole_set_has_its_interval_over_targets_too() -> None:
    private = sl.Vanilla(labels_at="server")
    victim = sl.train(
        network, split(), cut=CUT, protocol=private, training=sl.Training(epochs=1), targets=TARGETS
    )
    result = sl.attack(victim, sl.Direction(), grants=("hints",))
    found = result.rows().set_index("metric").loc["leak_auc"]
    assert 0 <= found["ci_low"] <= found["value"] <= found["ci_high"] <= 1
    assert found["gain_low"] == found["ci_low"] - found["baseline"]
    assert f"<td>{found['ci_low']:.3g} to {found['ci_high']:.3g}</td>" in result._repr_html_()


def test_what_users_name_is_escaped() -> None:
    named = replace(split(), name="<script>")
    victim = sl.train(network, named, cut=CUT, training=sl.Training(epochs=1), targets=TARGETS)
    for shown in (victim._repr_html_(), sl.attack(victim, sl.Decoder.smoke())._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;" in shown


def test_a_victim_no_better_than_guessing_is_marked_in_the_table(victim: sl.Victim) -> None:
    guessing = replace(victim, utility=1 / 3)
    for made, unusable in ((guessing, True), (replace(victim, utility=0.34), False)):
        assert list(sl.table([sl.attack(made, sl.Decoder.smoke())])["unusable"]) == [unusable]
