"""Summaries as text, such as `0.71 [0.65, 0.77]`."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from sltoolkit.report.against_undefended import UTILITIES
from sltoolkit.report.tables import FAMILIES
from sltoolkit.rows.columns import SETTING, heading

NOTHING = "–"

METRIC_NAMES = {
    "ssim": "SSIM", "mse": "MSE", "psnr_db": "PSNR/dB", "label_accuracy": "label accuracy",
    "leak_auc": "leak AUC", "mse_affine": "MSE after the best affine map",
    "attribute_auc": "attribute AUC", "attribute_accuracy": "attribute accuracy",
    "model_accuracy": "accuracy of the stolen model",
}  # fmt: skip
FAMILY_NAMES = {"reconstruction": "reconstruction", "labels": "label", "inference": "attribute"}


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as strings, for a terminal or a page; columns without information are left out.

    A gain that is only a lower bound reads `≥ +0.71 [+0.65, ?]`; a single victim seed has no
    interval and reads `0.71 (n=1)`.
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
    """The worst case over a family's attacks; a lower bound when an attack is missing."""
    text = spread(line, f"{family}_gain", signed=True, digits=gain_digits(line, family))
    if not line[f"{family}_incomplete"] or text == NOTHING:
        return text
    head, comma, _ = text.rpartition(", ")
    return f"≥ {head}{comma}?]" if comma else f"≥ {text}"


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
    text = f"{100 * share:.3g}"
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
    return texts | {"victims": str(line["seeds"])}


def _family(line: dict[str, Any], family: str, summary: pd.DataFrame) -> dict[str, str]:
    metrics = {m for m in summary[f"{family}_metric"] if m}
    name = METRIC_NAMES[metrics.pop()] if len(metrics) == 1 else ""
    title = f"{FAMILY_NAMES[family]} gain"
    digits = gain_digits(line, family)
    value, prior = (number(line[f"{family}_{x}"], digits=digits) for x in ("value", "baseline"))
    texts = {
        f"{title} ({name})" if name else title: gain_text(line, family),
        f"{FAMILY_NAMES[family]} attack": line[f"{family}_attack"] or NOTHING,
        f"{name or 'value'} (prior)": NOTHING if value == NOTHING else f"{value} ({prior})",
    }
    if family == "reconstruction" and summary["reconstruction_psnr_db"].notna().any():
        texts["PSNR/dB"] = number(line["reconstruction_psnr_db"], digits=1)
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
