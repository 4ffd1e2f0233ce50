"""Summaries as text, such as `0.71 [0.65, 0.77]`."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from sltoolkit.metrics import METRICS
from sltoolkit.report.against_undefended import UTILITIES
from sltoolkit.report.tables import FAMILIES
from sltoolkit.rows.columns import SETTING, heading

NOTHING = "–"
UNKNOWN = "?"

METRIC_NAMES = {
    "ssim": "SSIM", "mse": "MSE", "psnr_db": "PSNR/dB", "label_accuracy": "label accuracy",
    "leak_auc": "leak AUC", "mse_affine": "MSE after the best affine map",
    "attribute_auc": "attribute AUC", "attribute_accuracy": "attribute accuracy",
    "model_accuracy": "accuracy of the stolen model",
}  # fmt: skip
FAMILY_NAMES = {"reconstruction": "reconstruction", "labels": "label", "inference": "attribute"}


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as strings, for a terminal or a page; columns without information are left out.

    A worst case is an interval, headed by its upper end: `≤ +0.71 [≥ +0.65]`; it reads
    `≤ ? [≥ +0.65]` if an attack is missing. An accuracy of a single victim seed has no interval and
    reads `0.71 (n=1)`.
    """
    return pd.DataFrame([_line(line, summary) for line in records(summary)], dtype=object)


def setting_text(summary: pd.DataFrame) -> str:
    """What all lines of a summary share, such as `photos, lenet, cut conv1, vanilla`."""
    named = [c for c in SETTING if summary[c].nunique() == 1 and c != "protocol_params"]
    shared = {c: summary[c].iloc[0] for c in named}
    return ", ".join(f"{'cut ' * (c == 'cut')}{text}" for c, text in shared.items() if text != "")


def records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The lines of a table."""
    for line in table.to_dict("records"):
        yield {str(key): value for key, value in line.items()}


def spread(line: Mapping[str, Any], name: str, *, signed: bool = False, digits: int = 2) -> str:
    """A number of a line with its interval."""
    value, low, high = (line[name + end] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return NOTHING
    text = number(value, signed=signed, digits=digits)
    if math.isnan(low):
        return f"{text} (n={line['seeds']})"
    ends = (number(end, signed=signed, digits=digits) for end in (low, high))
    return f"{text} [{', '.join(ends)}]"


def gain_text(line: Mapping[str, Any], family: str) -> str:
    """The interval of the worst case over a family's attacks, headed by its upper end."""
    low, high = (line[f"{family}_gain_{end}"] for end in ("low", "high"))
    return at_most(low, high, gain_digits(line, family))


def at_most(low: float, high: float, digits: int) -> str:
    """An interval without a point, headed by its upper end; an end that is NaN is unknown."""
    if math.isnan(low) and math.isnan(high):
        return NOTHING
    least, most = (
        UNKNOWN if math.isnan(end) else number(end, signed=True, digits=digits)
        for end in (low, high)
    )
    return f"≤ {most} [≥ {least}]"


def leak_text(line: Mapping[str, Any], name: str, metric: str, digits: int) -> str:
    """The end of a metric's interval at which most leaks: `≤ 0.81`, or `≥ 0.004` for MSE."""
    sign, end = ("≤", "high") if METRICS[metric].higher_is_more_leak else ("≥", "low")
    other = line[f"{name}_low" if end == "high" else f"{name}_high"]
    if math.isnan(other):
        return NOTHING
    value = line[f"{name}_{end}"]
    return f"{sign} {UNKNOWN if math.isnan(value) else number(value, digits=digits)}"


def gain_digits(line: Mapping[str, Any], family: str) -> int:
    """How many decimals show differences in the family's primary metric."""
    return 4 if line[f"{family}_metric"] == "mse" else 2


def number(value: float, *, signed: bool = False, digits: int = 2) -> str:
    """A number in text, never a negative zero."""
    if math.isnan(value):
        return NOTHING
    return f"{value:+z.{digits}f}" if signed else f"{value:z.{digits}f}"


def points(share: float) -> str:
    """A share of 1 as percentage points."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} point{'' if text == '1' else 's'}"


def largest_loss(line: Mapping[str, Any]) -> tuple[float, str]:
    """The mean loss of accuracy or of balanced accuracy, whichever is larger, and its name."""
    losses = {name: float(line[f"{name}_loss"]) for name in UTILITIES}
    known = [(loss, name) for name, loss in losses.items() if not math.isnan(loss)]
    loss, name = max(known, key=lambda pair: pair[0])
    return loss, name.replace("_", " ")


def loss_text(line: Mapping[str, Any]) -> str:
    """The largest mean loss, such as `3.4 points of accuracy`."""
    loss, name = largest_loss(line)
    return f"{points(loss)} of {name}"


def utility_texts(line: Mapping[str, Any], summary: pd.DataFrame) -> dict[str, str]:
    """Accuracy, what it is compared with, and what the defense costs, where they are known."""
    texts = {"accuracy": spread(line, "accuracy")}
    if summary["chance"].notna().any():
        texts["majority share"] = number(line["chance"])
    if summary["balanced_accuracy"].notna().any():
        texts["balanced accuracy"] = spread(line, "balanced_accuracy")
    if summary["accuracy_loss"].notna().any():
        texts["accuracy lost"] = spread(line, "accuracy_loss", signed=True)
    return texts


def _line(line: dict[str, Any], summary: pd.DataFrame) -> dict[str, str]:
    texts = {heading(c): str(line[c]) for c in SETTING if summary[c].nunique() > 1}
    texts |= {"defense": line["label"], **utility_texts(line, summary)}
    for family in FAMILIES:
        if (summary[f"{family}_metric"] != "").any() or summary[f"{family}_incomplete"].any():
            texts |= _family(line, family, summary)
    if summary["epsilon"].notna().any():
        texts["epsilon"] = _epsilon(line)
    notes = _notes(line)
    if any(_notes(other) for other in records(summary)):
        texts["note"] = notes
    one = " (one network)" * (line["interval_over"] == "targets" and line["seeds"] > 1)
    return texts | {
        "interval over": line["interval_over"], "victims": f"{line['seeds']}{one}"
    }  # fmt: skip


def _family(line: dict[str, Any], family: str, summary: pd.DataFrame) -> dict[str, str]:
    metrics = {m for m in summary[f"{family}_metric"] if m}
    name = METRIC_NAMES[metrics.pop()] if len(metrics) == 1 else ""
    title = f"{FAMILY_NAMES[family]} gain"
    digits = gain_digits(line, family)
    metric, prior = line[f"{family}_metric"], number(line[f"{family}_baseline"], digits=digits)
    value = leak_text(line, f"{family}_value", metric, digits) if metric else NOTHING
    texts = {
        f"{title} ({name})" if name else title: gain_text(line, family),
        f"{FAMILY_NAMES[family]} attack": line[f"{family}_attack"] or NOTHING,
        f"{name or 'value'} (prior)": NOTHING if value == NOTHING else f"{value} ({prior})",
    }
    if family == "reconstruction" and summary["reconstruction_psnr_db_low"].notna().any():
        texts["PSNR/dB"] = leak_text(line, "reconstruction_psnr_db", "psnr_db", digits=1)
    return texts


def _epsilon(line: dict[str, Any]) -> str:
    if math.isnan(line["epsilon"]):
        return NOTHING
    plural = "" if line["releases"] == 1 else "s"
    return f"{line['epsilon']:.3g} (δ={line['delta']:.0e}, {line['releases']:.0f} release{plural})"


def _notes(line: dict[str, Any]) -> str:
    notes = [
        f"incomplete: {line[f'{family}_missing']}"
        for family in FAMILIES
        if line[f"{family}_incomplete"]
    ]
    if line["useless"]:
        notes.append("unusable: not above the majority share")
    elif line["unusable"]:
        notes.append(f"unusable: {loss_text(line)} lost")
    return "; ".join(notes)
