"""Outcomes and errors leave an attack's process as records and tensors, and come back checked."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.outcomes import (
    AttributeGuess,
    Integrity,
    LabelGuess,
    MembershipScores,
    ModelClone,
    Outcome,
    Reconstruction,
)
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.referee.reports import error_in, failed, heard, told
from sltoolkit.wire.frames import packed, unpacked

ROWS = torch.rand(3, 2)
OUTCOMES: list[Outcome] = [
    Outcome(tuned={"lr": 1 / 3, "start": "gray"}, diagnostics={"loss": 0.1},
            curve={1: 0.5, 20: 0.25}),
    Reconstruction(images=ROWS, trace={5: ROWS + 1, 50: ROWS + 2}, guess=ROWS),
    Reconstruction(images=ROWS),
    LabelGuess(scores=ROWS), MembershipScores(scores=ROWS[:, 0]), AttributeGuess(scores=ROWS),
    Integrity(trigger=None, target_class=4), Integrity(trigger=ROWS, target_class=4),
]  # fmt: skip


def flat(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: flat(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, Tensor) else value


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: type(o).__name__)
def test_an_outcome_arrives_as_it_was(outcome: Outcome) -> None:
    arrived = heard(*unpacked(packed(*told(outcome)), "cpu"))
    assert type(arrived) is type(outcome)
    for f in fields(outcome):
        assert flat(getattr(arrived, f.name)) == flat(getattr(outcome, f.name)), f.name


class Own(Outcome):
    """An outcome that the referee doesn't know."""


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        (ModelClone(model=nn.Identity()), r"a network \(model\)"),
        (replace(OUTCOMES[2], model=nn.Identity()), r"a network \(model\)"),
        (Own(), "a Own"),
    ],
)
def test_what_would_have_to_be_unpickled_is_refused(outcome: Outcome, what: str) -> None:
    with pytest.raises(SpecError, match=f"hands back {what}.*without isolation"):
        told(outcome)


def broken(**changes: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    record, tensors = told(OUTCOMES[1])
    return {**record, **changes}, tensors


PLAIN: dict[str, Any] = {"tuned": {}, "diagnostics": {}, "curve": []}


@pytest.mark.parametrize(
    ("record", "tensors"),
    [
        broken(type="Popen"), broken(plain=None), broken(plain={}),
        broken(plain={**PLAIN, "curve": [["a", 1]]}), broken(plain={**PLAIN, "tuned": 3}),
        (broken()[0], {}), (broken()[0], {"images": ROWS, "colour": ROWS}),
        (broken()[0], {"images": ROWS, "trace/x": ROWS}), ({}, {}),
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_refused(record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    with pytest.raises(ProtocolError, match="attack's process sent"):
        heard(record, tensors)


def test_a_report_names_no_object_for_a_field() -> None:
    record, tensors = told(OUTCOMES[2])
    record["plain"]["model"] = record["plain"]["guess"] = "something"
    arrived = heard(record, tensors)
    assert arrived.model is None
    assert arrived.guess is None


class Foreign(Exception):  # noqa: N818 - as plug-ins may name it
    """An error of a plug-in."""


ERRORS: list[tuple[Exception, type[Exception]]] = [
    (ThreatModelError("no gradient"), ThreatModelError), (ValueError("a", "b"), ValueError),
    (KeyError("x"), KeyError), (torch.OutOfMemoryError("much"), torch.OutOfMemoryError),
    (ZeroDivisionError(), ZeroDivisionError), (OSError(2, "gone"), FileNotFoundError),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind"), ERRORS, ids=lambda e: str(e))
def test_an_error_says_the_same_sentence(error: Exception, kind: type[Exception]) -> None:
    back = error_in(unpacked(packed(*failed(error)), "cpu")[0])
    assert type(back) is kind
    assert str(back) == str(error)


@pytest.mark.parametrize("name", ["Foreign", "exit", "SystemExit", "eval", "UnicodeDecodeError"])
def test_any_other_error_is_told_by_its_name(name: str) -> None:
    back = error_in({"type": name, "args": ["the sentence"]})
    assert type(back) is RuntimeError
    assert str(back) == f"{name}: the sentence"
    assert str(error_in(failed(Foreign("odd"))[0])) == "Foreign: odd"
