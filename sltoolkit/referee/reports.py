"""Outcomes and errors in the form in which they leave an attack's own process."""

import builtins
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit import errors
from sltoolkit.contracts.outcomes import (
    AttributeGuess,
    Integrity,
    LabelGuess,
    MembershipScores,
    Outcome,
    Reconstruction,
)
from sltoolkit.errors import ProtocolError, SpecError

Report = tuple[dict[str, Any], dict[str, Tensor]]
"""A record of plain JSON, and tensors."""

_KINDS: Mapping[str, type[Outcome]] = {
    kind.__name__: kind
    for kind in (
        Outcome, Reconstruction, LabelGuess, MembershipScores, AttributeGuess, Integrity
    )
}  # fmt: skip
_TENSORS = {"images", "scores"}
"""The fields of outcomes that must be tensors."""


def told(outcome: Outcome) -> Report:
    """An outcome as a report.

    Raises:
        SpecError: if it holds a network, or is of no kind that the referee knows.
    """
    kind = type(outcome).__name__
    networks = [name for name, value in vars(outcome).items() if isinstance(value, nn.Module)]
    if networks or _KINDS.get(kind) is not type(outcome):
        what = f"a network ({networks[0]})" if networks else f"a {kind}"
        raise SpecError(
            f"the attack hands back {what}, which could reach the referee only by unpickling it: "
            "run this attack without isolation"
        )
    tensors = {name: value for name, value in vars(outcome).items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in vars(outcome).items() if name not in tensors}
    trace = plain.pop("trace", {})
    tensors |= {f"trace/{step}": images for step, images in trace.items()}
    plain["curve"] = list(outcome.curve.items())
    return {"kind": "outcome", "type": kind, "plain": plain}, tensors


def heard(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Outcome:
    """The outcome in a report that nobody vouches for.

    Raises:
        ProtocolError: if it is none.
    """
    try:
        kind, plain = _KINDS[record["type"]], dict(record["plain"])
        values: dict[str, Any] = {
            **{name: {str(k): v for k, v in plain.pop(name).items()}
               for name in ("tuned", "diagnostics")},
            "curve": {int(step): float(loss) for step, loss in plain.pop("curve")},
            **{name: value for name, value in tensors.items() if "/" not in name},
        }  # fmt: skip
        trace = {int(n.partition("/")[2]): t for n, t in tensors.items() if "/" in n}
        if kind is Reconstruction:
            values["trace"] = trace
        if kind is Integrity:
            values["target_class"] = int(plain.pop("target_class"))
        outcome = kind(**{**dict.fromkeys(plain), **values})
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise ProtocolError(f"the attack's process sent what is no outcome ({e!r})") from e
    missing = [n for n in _TENSORS & set(vars(outcome)) if not isinstance(vars(outcome)[n], Tensor)]
    if missing:
        raise ProtocolError(f"the attack's process sent an outcome without {missing[0]}")
    return outcome


def failed(error: Exception) -> Report:
    """An error as a report."""
    texts = error.args if all(isinstance(arg, str) for arg in error.args) else [str(error)]
    return {"kind": "error", "type": type(error).__name__, "args": list(texts)}, {}


def error_in(record: Mapping[str, Any]) -> Exception:
    """The error in a report: one of the toolkit's, torch's or Python's, or a `RuntimeError`."""
    said = record.get("args")
    name, args = str(record.get("type")), [str(a) for a in said] if isinstance(said, list) else []
    known = {kind.__name__: kind for kind in vars(errors).values() if _is_error(kind)}
    known |= {torch.OutOfMemoryError.__name__: torch.OutOfMemoryError}
    kind: Any = known.get(name, getattr(builtins, name, None))
    try:
        if _is_error(kind):
            error: Exception = kind(*args)
            return error
    except TypeError:  # a kind that takes other arguments
        pass
    return RuntimeError(f"{name}: {' '.join(args)}")


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
