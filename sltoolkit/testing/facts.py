"""Checks of what plug-ins declare: construction, citation, views, refusals."""

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
    """The plug-in itself or, for a class, its smallest setting.

    Raises:
        AssertionError: if a class can't be made without arguments.
    """
    if not isinstance(plugin, type):
        return plugin
    check_default_constructible(plugin)
    return plugin.smoke()  # type: ignore[attr-defined]


def check_default_constructible(kind: type) -> None:
    """The class is a dataclass that can be made without arguments, and has a smallest setting.

    An attack must also be frozen, so that it carries nothing from run to run.
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
    """The plug-in names the paper that it comes from, with the year."""
    text = type(plugin).citation
    assert re.search(r"\b(19|20)\d\d\b", text), (
        f"{type(plugin).__name__} cites no paper with a year"
    )


def check_frozen_view(attack: AnyAttack) -> None:
    """The attack's views are frozen dataclasses, and each of their fields is a grant."""
    for view in views_of(attack):
        try:
            needs(view)
        except ThreatModelError as refusal:
            raise AssertionError(str(refusal)) from refusal


def check_refusal(attack: AnyAttack) -> None:
    """If any one needed grant is missing, the attack is refused in a sentence that names it."""
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
    """The text of the error that an action is refused with.

    Args:
        kind: the class of the error.
        action: what should be refused.
        otherwise: says what is wrong if it isn't refused.

    Raises:
        AssertionError: with the text `otherwise`, if the action isn't refused.
    """
    try:
        action()
    except kind as refusal:
        return str(refusal)
    raise AssertionError(otherwise)
