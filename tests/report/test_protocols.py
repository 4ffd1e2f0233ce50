"""The table and the figure of protocols, from made-up rows."""

import math
from typing import Any

import pandas as pd
import pytest
from support.rows import assert_readable

from sltoolkit.errors import SpecError
from sltoolkit.report.protocols import formatted_protocols, protocol_figure, protocol_table
from sltoolkit.report.tables import summary


def row(protocol: str, seed: int, attack: str, family: str, gain: float) -> dict[str, Any]:
    metric = {"reconstruction": "ssim", "labels": "leak_auc"}.get(family)
    return {
        "dataset": "digits", "model": "mlp", "cut": "relu1", "protocol": protocol,
        "defense": "none", "defense_params": "{}", "attack": attack, "attack_params": "{}",
        "family": family, "victim_seed": seed, "metric": metric, "value": gain + 0.2,
        "baseline": 0.2 if metric else math.nan, "gain": gain, "utility": 0.8 + seed / 100,
    }  # fmt: skip


ROWS = pd.DataFrame(
    [row("vanilla", s, "decoder", "reconstruction", 0.5 + s / 100) for s in range(3)]
    + [row("u_shaped", s, "direction", "labels", 0.4) for s in range(3)]
    + [row("fedavg", s, "none", "utility", math.nan) for s in range(3)]
)
BYTES = {"vanilla": 2e6, "u_shaped": 4e6, "fedavg": 1e6}
SECONDS = {"vanilla": 3.0, "u_shaped": 5.0, "fedavg": 2.0}


def test_every_protocol_has_a_line_also_where_nobody_can_attack() -> None:
    table = formatted_protocols(protocol_table(summary(ROWS), BYTES, SECONDS)).set_index("protocol")
    assert list(table.index) == ["vanilla", "u_shaped", "fedavg"]
    assert table.loc["vanilla", "reconstruction gain"] == "≤ +0.53 [≥ +0.49]"
    assert list(table["label gain"][["vanilla", "fedavg"]]) == ["labels are sent", "-"]
    assert str(table.loc["u_shaped", "label gain"]).startswith("≤ +0.40")
    assert table.loc["fedavg", "accuracy"] == "0.81 [0.79, 0.83]"
    assert (table.loc["fedavg", "by"], table.loc["fedavg", "MB per epoch"]) == ("-", "1.00")


def test_the_figure_draws_every_number_there_is() -> None:
    figure = protocol_figure(protocol_table(summary(ROWS), BYTES, SECONDS))
    drawn: list[Any] = [axis.lines for axis in figure.axes]  # untyped data inside
    dots = [sum(len(line.get_xdata()) == 1 for line in lines) for lines in drawn]
    assert dots == [3, 3, 3, 1, 1]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        "vanilla", "U-shaped", "FedAvg",
    ]  # fmt: skip
    assert_readable(figure)


def test_what_was_not_attacked_is_not_called_safe() -> None:
    mine = [row("a_plug_in", s, "none", "utility", math.nan) for s in range(3)]
    table = summary(pd.concat([ROWS, pd.DataFrame(mine)]))
    figure = protocol_figure(protocol_table(table, BYTES, SECONDS))
    said = [[t.get_text() for t in axis.texts] for axis in figure.axes[3:]]
    here = "not attacked here"
    assert said == [[here] * 3, ["labels are sent", here, here]]


def test_two_lines_of_one_protocol_are_refused() -> None:
    noisy = ROWS.assign(defense="noise")
    with pytest.raises(SpecError, match="several of vanilla"):
        protocol_table(summary(pd.concat([ROWS, noisy])), BYTES, SECONDS)
