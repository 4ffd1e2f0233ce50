"""The referee's own functions are what they were before an attack ran, or its result is void.

Attacks run in the referee's process. One that puts another function in a metric's place, or other
numbers into the registry of metrics, would choose its own score.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, final

import torch

from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.errors import TamperingError
from sltoolkit.metrics import KINDS, METRICS
from sltoolkit.referee.scoring import score
from sltoolkit.referee.truth import Truth

_OWN = ("sltoolkit.metrics", "sltoolkit.referee", "sltoolkit.rows")

_OF_FUNCTIONS = ("__code__", "__defaults__", "__kwdefaults__")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """What modules held at one time.

    Attributes:
        names: dictionary's name -> the dictionary, and what it held.
        functions: each function of the modules, and what it consisted of.
    """

    names: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]
    functions: Mapping[FunctionType, tuple[Any, ...]]

    def restored(self) -> list[str]:
        """Names of what has changed since; all of it is put back."""
        changed = []
        for name, (now, then) in self.names.items():
            wrong = [k for k, v in then.items() if k not in now or now[k] is not v]
            if not name.startswith("sltoolkit."):  # a module may get new names, a registry may not
                wrong += [k for k in now if k not in then]
            for key in wrong:
                now.pop(key, None)
            now |= {key: then[key] for key in wrong if key in then}
            changed += [f"{name}.{key}" for key in wrong]
        for function, parts in self.functions.items():
            if any(
                getattr(function, a) is not b for a, b in zip(_OF_FUNCTIONS, parts, strict=True)
            ):
                for attribute, part in zip(_OF_FUNCTIONS, parts, strict=True):
                    setattr(function, attribute, part)
                changed.append(f"{function.__module__}.{function.__qualname__}")
        return changed


def snapshot(*rooms: str) -> Snapshot:
    """What all loaded modules of some rooms, and the registry of metrics, hold now."""
    modules = {
        name: vars(module)
        for name, module in sys.modules.items()
        if module is not None and name.startswith(rooms)
    }
    names = {
        "METRICS": METRICS,
        "KINDS": KINDS,
        **{f"METRICS[{name!r}]": vars(metric) for name, metric in METRICS.items()},
        **modules,
    }
    found = [f for held in modules.values() for f in held.values() if isinstance(f, FunctionType)]
    found += [
        metric.function for metric in METRICS.values() if isinstance(metric.function, FunctionType)
    ]
    return Snapshot(
        names={name: (held, _public(held)) for name, held in names.items()},  # type: ignore[misc]
        functions={f: tuple(getattr(f, a) for a in _OF_FUNCTIONS) for f in found},
    )


def _public(held: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if not name.startswith("__")}


_AT_IMPORT = snapshot("sltoolkit.metrics")


@contextmanager
def intact(plugin: str) -> Iterator[None]:
    """Let a plug-in's code run in the body, and see to it that the referee is afterwards as before.

    Args:
        plugin: what runs, for the message.

    Raises:
        TamperingError: if functions or registries of the referee have changed (they are put back),
            or a known pair doesn't score what it must.
    """
    before = snapshot(*_OWN)
    changed: Collection[str] = ()
    try:
        yield
    finally:
        changed = list(dict.fromkeys([*before.restored(), *_AT_IMPORT.restored()]))
    if changed:
        raise TamperingError(
            f"{plugin}'s result is void: while it ran, {', '.join(changed)} of the referee changed "
            "(put back now), and an attack that changes the referee chooses its own score; leave "
            "the toolkit's modules as they are"
        )
    wrong = _misjudged()
    if wrong:
        raise TamperingError(
            f"{plugin}'s result is void: after it ran, a known pair scores {wrong}, because "
            "something that metrics compute with has changed; start a new process, and run "
            "nothing in it that changes torch or numpy"
        )


def _misjudged() -> str:
    """What known pairs score, where it isn't what they must; empty if all is well."""
    try:
        found = [(score(outcome, truth).means, must) for outcome, truth, must in _known_pairs()]
    except Exception as e:  # noqa: BLE001 - whatever was changed may raise anything
        return f"nothing ({e!r})"
    return ", ".join(
        f"{metric} {means.get(metric)} where it must score {must:.6g}"
        for means, expected in found
        for metric, must in expected.items()
        if not abs(means.get(metric, torch.inf) - must) < 1e-5
    )


def _known_pairs() -> list[tuple[Outcome, Truth, Mapping[str, float]]]:
    """Outcomes with the truth about them, and what they score."""
    side = torch.arange(16.0).ge(8).float()
    across, down = side.expand(2, 1, 16, 16), side[:, None].expand(2, 1, 16, 16)
    guess = torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.8, 0.2], [0.1, 0.9]])
    y = torch.tensor([0, 1, 1, 1])
    images = Truth(x=across, y=y[:2], ids=y[:2])
    labels = Truth(x=across.repeat(2, 1, 1, 1), y=y, ids=y)
    return [
        (Reconstruction(images=down), images, _CROSSED),
        (Reconstruction(images=across), images, _EQUAL),
        (LabelGuess(scores=guess), labels, _LABELS),
        (AttributeGuess(scores=guess), labels, _ATTRIBUTES),
    ]


_CROSSED = {"mse": 0.5, "psnr_db": 3.0103, "mse_affine": 0.25, "ssim": 0.00240533}
_EQUAL = {"mse": 0.0, "psnr_db": 100.0, "mse_affine": 0.0, "ssim": 1.0}
_LABELS = {"leak_auc": 2 / 3, "label_accuracy": 3 / 4}
_ATTRIBUTES = {"attribute_auc": 2 / 3, "attribute_accuracy": 3 / 4}
