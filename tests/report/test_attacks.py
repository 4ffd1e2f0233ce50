"""The table of attacks by knowledge and cut."""

import json

import pandas as pd
import pytest
from support.rows import row

from sltoolkit.errors import SpecError
from sltoolkit.metrics import t_interval
from sltoolkit.report.attacks import attack_table

REACHED = {
    ("conv1", "whitebox"): (0.9, 1.0), ("conv1", "deep_image_prior"): (0.8, 0.9),
    ("conv1", "decoder"): (0.7, 0.8), ("conv2", "whitebox"): (0.5, 0.6),
    ("conv2", "deep_image_prior"): (0.6, 0.7), ("conv2", "decoder"): (0.4, 0.6),
}  # fmt: skip
KNOWS = {
    "whitebox": "aux+client_weights+smashed", "deep_image_prior": "aux+client_weights+smashed",
    "decoder": "aux+labels+release+smashed",
}  # fmt: skip


def rows(baseline: float = 0.1, sign: int = 1) -> pd.DataFrame:
    """Rows with the prior's score `baseline`; `sign` is -1 if lower scores leak more."""
    return pd.DataFrame(
        row(cut=cut, attack=attack, knowledge=KNOWS[attack], value=value, victim_seed=seed,
            defense="none", defense_params="{}", utility=0.9, baseline=baseline,
            gain=sign * (value - baseline))
        for (cut, attack), values in REACHED.items() for seed, value in enumerate(values)
    )  # fmt: skip


def cells(errors: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """The cells of the table: (knowledge, attack, cut) -> text."""
    table = attack_table(errors)
    return {
        (*index, cut): str(text)
        for cut in table.columns
        for index, text in zip(table.index.to_list(), table[cut], strict=True)
    }


def test_it_shows_means_and_intervals_and_marks_the_best_at_its_knowledge() -> None:
    table, found, strong = (
        cells(rows()),
        t_interval([0.9, 1.0], within=(-1.0, 1.0)),
        "the client's weights, own samples",
    )
    assert table[strong, "whitebox", "conv1"] == f"0.95 [{found.low:.2f}, {found.high:.2f}]*"
    assert not table[strong, "whitebox", "conv2"].endswith("*")
    assert table[strong, "deep_image_prior", "conv2"].endswith("*")
    assert table["queries, own samples", "decoder", "conv2"].startswith("0.50 [")
    assert table["", "prior alone", "conv1"] == "0.10 [0.10, 0.10]"


def test_the_interval_of_one_network_is_over_its_targets_and_says_so() -> None:
    one = rows()[lambda r: r["victim_seed"] == 0].assign(ci_low=0.25, ci_high=0.75)
    for frame in (one, rows().assign(network="a", ci_low=0.25, ci_high=0.75)):
        found = cells(frame)["the client's weights, own samples", "whitebox", "conv2"]
        assert found.endswith(" [0.25, 0.75] over targets")


def test_where_less_is_more_leak_the_least_is_the_best() -> None:
    table, strong = cells(rows(2.0, -1).assign(metric="mse")), "the client's weights, own samples"
    assert table[strong, "deep_image_prior", "conv1"].endswith("]*")
    assert table[strong, "whitebox", "conv1"].startswith("0.9500 [")


def test_an_attack_wins_only_if_it_beats_the_prior() -> None:
    table = cells(rows(baseline=0.65))
    assert not any(text.endswith("*") for (*_, cut), text in table.items() if cut == "conv2")
    assert table["queries, own samples", "decoder", "conv1"].endswith("*")


def test_an_attack_that_failed_on_a_victim_says_so() -> None:
    found = rows()
    found.loc[found.index[:1], ["status", "reason"]] = ["failed", "diverged"]  # whitebox, victim 0
    table = cells(found)
    assert (
        table["the client's weights, own samples", "whitebox", "conv1"]
        == "1.00 (n=1)* (1 of 2 victims)"
    )
    assert "of 2" not in table["queries, own samples", "decoder", "conv1"]


def test_an_attack_does_not_win_if_another_does_better_with_less_knowledge() -> None:
    weaker = {"decoder": "aux+client_weights+release+smashed", "whitebox": "aux+labels+smashed"}
    table = cells(rows().assign(knowledge=lambda r: r["attack"].map({**KNOWS, **weaker})))
    everything = "the client's weights, queries, own samples"
    assert not table[everything, "decoder", "conv1"].endswith("*")  # whitebox reaches more
    assert table["own samples", "whitebox", "conv1"].endswith("*")
    assert not table["the client's weights, own samples", "deep_image_prior", "conv1"].endswith("*")
    assert table["the client's weights, own samples", "deep_image_prior", "conv2"].endswith("*")
    assert not table[everything, "decoder", "conv2"].endswith("*")


def test_listeners_know_more_and_hijackers_most() -> None:
    mounted = {"whitebox": "actively", "deep_image_prior": "listening", "decoder": "afterwards"}
    said = rows().assign(
        knowledge="aux+server_weights+smashed", mounted=lambda r: r["attack"].map(mounted)
    )
    table = attack_table(said)
    assert [knows for knows, _ in table.index] == [
        "hijacks the training, own samples", "heard the training, own samples", "own samples", "",
    ]  # fmt: skip
    conv2 = [str(text).endswith("*") for text in table["conv2"]]
    assert conv2 == [False, True, True, False]


def test_what_differs_otherwise_is_no_comparison_of_cuts() -> None:
    mixed = rows()
    mixed.loc[0, "defense_params"] = json.dumps({"std": 1.0})
    with pytest.raises(SpecError, match="these rows differ in defense_params"):
        attack_table(mixed)
    with pytest.raises(SpecError, match="these rows differ in swept"):
        attack_table(rows().assign(swept=["data.aux=1", *["data.aux=2"] * 11]))
    with pytest.raises(SpecError, match="needs reconstructions"):
        attack_table(rows().assign(family="labels"))
