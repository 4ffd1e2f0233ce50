"""Synthetic rows whose numbers are known, for tests of tables, figures and pages."""

import json
import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from sltoolkit.report.canvas import PAGE
from sltoolkit.report.formats import records

NONE: tuple[str, dict[str, Any]] = ("none", {})
WEAK: tuple[str, dict[str, Any]] = ("gaussian_noise", {"std": 0.5})
STRONG: tuple[str, dict[str, Any]] = ("gaussian_noise", {"std": 2.0})

# (defense, attack) -> gain per victim seed; the prior alone always reaches SSIM 0.1.
GAINS = {
    ("none", "whitebox"): (0.80, 0.82, 0.84), ("none", "decoder"): (0.60, 0.61, 0.65),
    ("weak", "whitebox"): (0.40, 0.30, 0.50), ("weak", "decoder"): (0.41, 0.43, 0.48),
    ("strong", "whitebox"): (0.02, -0.03, 0.04), ("strong", "decoder"): (-0.1, 0.0, -0.05),
}  # fmt: skip
DEFENSES = {"none": NONE, "weak": WEAK, "strong": STRONG}
ACCURACY = {"none": (0.82, 0.80, 0.84), "weak": (0.80, 0.78, 0.79), "strong": (0.70, 0.72, 0.68)}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "experiment": "synthetic", "cell": "c", "victim_seed": 0, "attacker_seed": 0,
        "protocol": "vanilla", "protocol_params": '{"clients": 1}', "model": "lenet",
        "cut": "conv1", "dataset": "photos", "split": "abc", "attack_params": "{}",
        "family": "reconstruction", "role": "server", "knowledge": "aux+release+smashed",
        "tuned": "", "target_set": "private_holdout", "checkpoint": "final", "metric": "ssim",
        "ci_low": math.nan, "ci_high": math.nan, "n": 16, "baseline": 0.1,
        "baseline_name": "mean_image", "retrieval": 0.2, "epsilon": None, "delta": None,
        "releases": 1, "seconds": 1.0, "peak_mb": 100.0, "sltoolkit": "0.1.0", "torch": "2.13.0",
        "python": "3.11", "status": "ok", "reason": "",
    } | changes  # fmt: skip


def make_rows(seeds: int = 3, with_labels: bool = True) -> pd.DataFrame:
    rows = []
    for (defense, attack), gains in GAINS.items():
        name, params = DEFENSES[defense]
        for seed in range(seeds):
            shared = {
                "defense": name, "defense_params": json.dumps(params), "victim_seed": seed,
                "utility": ACCURACY[defense][seed],
            }  # fmt: skip
            gain = gains[seed]
            rows.append(row(**shared, attack=attack, gain=gain, value=0.1 + gain))
            rows.append(
                row(**shared, attack=attack, metric="psnr_db", value=10 + 20 * gain, baseline=10.0,
                    gain=20 * gain)
            )  # fmt: skip
            if with_labels and attack == "decoder":
                rows.append(
                    row(**shared, attack="norm", family="labels", metric="leak_auc",
                        value=0.9 + seed / 100, baseline=0.5, gain=0.4 + seed / 100)
                )  # fmt: skip
    return pd.DataFrame(rows)


def fail(rows: pd.DataFrame, defense: str, attack: str, seed: int) -> pd.DataFrame:
    params = json.dumps(DEFENSES[defense][1])
    hit = (rows.defense_params == params) & (rows.attack == attack) & (rows.victim_seed == seed)
    assert hit.any()
    emptied = ("metric", "value", "gain", "baseline", "role", "knowledge")
    nothing = dict.fromkeys(emptied, math.nan)
    (whole, *_) = records(rows[hit])
    broken = {**whole, **nothing, "status": "failed", "reason": "diverged"}
    return pd.DataFrame([*rows[~hit].to_dict("records"), broken])


def line(table: pd.DataFrame, label: str) -> dict[str, Any]:
    found = table[table.label == label].to_dict("records")
    assert len(found) == 1
    return {str(k): v for k, v in found[0].items()}


def assert_readable(figure: Figure) -> None:
    """Assert that a figure is no wider than a page and has no text below seven points."""
    written_down = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]
    assert min(float(t.get_fontsize()) for t in written_down) >= 7
    assert figure.get_figwidth() <= PAGE
