"""What plug-ins declare: construction, citation, views, refusals."""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from typing import Any

from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import needs, permitted
from sltoolkit.errors import ThreatModelError
from sltoolkit.rows.names import parameters_json
from sltoolkit.testing.judging import views_of


def smallest(plugin: Any) -> Any:
    """A plug-in as it is given, or at the smallest setting of its class.

    Raises:
        AssertionError: if a class can't be made without arguments.
    """
    if not isinstance(plugin, type):
        return plugin
    check_default_constructible(plugin)
    return plugin.smoke()  # type: ignore[attr-defined]


def check_default_constructible(kind: type) -> None:
    """It can be made without arguments, is a dataclass, and has a smallest setting.

    An attack is frozen besides, so that it carries nothing from run to run.
    """
    name = kind.__name__
    assert is_dataclass(kind), f"{name} is no dataclass of hyper-parameters"
    try:
        plugin: Any = kind()
    except TypeError as e:
        raise AssertionError(f"{name} can't be made without arguments: {e}") from e
    frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert frozen or isinstance(plugin, Defense), (
        f"{name} is not frozen: it could carry state from run to run"
    )
    assert isinstance(plugin.smoke(), kind), f"{name}.smoke() is no {name}"
    parameters_json(plugin)


def check_citation(plugin: Any) -> None:
    """It says which paper it comes from, with the year."""
    text = type(plugin).citation
    assert re.search(r"\b(19|20)\d\d\b", text), (
        f"{type(plugin).__name__} cites no paper with a year"
    )


def check_frozen_view(attack: AnyAttack) -> None:
    """Its views are frozen dataclasses whose every field is a grant."""
    for view in views_of(attack):
        try:
            needs(view)
        except ThreatModelError as refusal:
            raise AssertionError(str(refusal)) from refusal


def check_refusal(attack: AnyAttack) -> None:
    """Without any one of the grants it needs it is refused, in a sentence that names it."""
    name = type(attack).__name__
    assert needs(attack.view)[0], f"{name} needs no grant at all: it can't have heard anything"
    for view in views_of(attack):
        required, _ = needs(view)
        for missing in sorted(required):
            held = required - {missing}
            said = refusal_of(
                ThreatModelError,
                partial(permitted, view, name=name, role="server", held=held, granted=()),
                otherwise=f"{name} is not refused without {missing}",
            )
            words = set(re.findall(r"\w+", said))
            assert {name, missing} <= words, f"unclear refusal: {said}"


def refusal_of(kind: type[Exception], action: Callable[[], Any], *, otherwise: str) -> str:
    """What an action is refused with.

    Args:
        kind: of the refusal.
        action: what should be refused.
        otherwise: what is wrong if it isn't.

    Raises:
        AssertionError: `otherwise`.
    """
    try:
        action()
    except kind as refusal:
        return str(refusal)
    raise AssertionError(otherwise)
