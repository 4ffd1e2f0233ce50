"""Rows and charts for the tests of figures."""

from typing import Any

import pandas as pd

from sltoolkit.report.series import Chart, charts


def row(**changes: Any) -> dict[str, Any]:
    return {
        "cell": "c", "victim_seed": 0, "attacker_seed": 0, "protocol": "vanilla",
        "model": "lenet", "cut": "conv1", "dataset": "photos", "defense": "none",
        "defense_params": "{}", "attack": "decoder", "attack_params": "{}",
        "family": "reconstruction", "metric": "ssim", "value": 0.5, "baseline": 0.1, "gain": 0.4,
        "swept": "", "status": "ok",
    } | changes  # fmt: skip


def only(rows: list[dict[str, Any]], progress: dict[str, Any] | None = None) -> Chart:
    (chart,) = charts(pd.DataFrame(rows), progress or {})
    return chart
