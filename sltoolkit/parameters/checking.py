"""The check that refuses senseless parameters when a plug-in is built."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from sltoolkit.errors import SpecError, nearest
from sltoolkit.parameters.parameter import Declared, declared, words_of


def check_parameters(plugin: Any) -> None:
    """Refuse a plug-in if one of its parameters has the wrong type or is out of range.

    The base classes of plug-ins call this in `__post_init__`. It replaces a numpy number by a
    Python number, and a list by a tuple if only a tuple fits.

    Args:
        plugin: an instance of a dataclass.

    Raises:
        SpecError: saying what was expected and what was found.
    """
    settable = {f.name for f in fields(plugin) if f.init}
    for parameter in declared(plugin.__class__):
        if parameter.name in settable:
            value = getattr(plugin, parameter.name)
            plain = _plain(parameter.kind, value)
            if plain is not value:
                object.__setattr__(plugin, parameter.name, plain)
            check_value(parameter, plain, type(plugin).__name__)


def check_arguments(factory: Any, given: Mapping[str, Any], name: str) -> None:
    """Refuse senseless arguments of a model's factory.

    Args:
        factory: the function, whose arguments may declare parameters.
        given: the arguments to check.
        name: the name of the model, for the message.

    Raises:
        SpecError: saying what was expected and what was found.
    """
    for parameter in declared(factory):
        if parameter.name in given:
            check_value(parameter, given[parameter.name], name)


def check_value(parameter: Declared, value: Any, owner: str) -> None:
    """Refuse a value that a parameter can't have.

    Args:
        parameter: the declared parameter.
        value: the value to check.
        owner: the name of the plug-in or model, for the message.

    Raises:
        SpecError: saying what was expected and what was found.
    """
    declared_range = parameter.parameter
    fits = _has_type(parameter.kind, value)
    if fits and declared_range is not None:
        entries = value if isinstance(value, tuple | list) else (value,)
        numbers = [e for e in entries if isinstance(e, int | float) and not isinstance(e, bool)]
        fits = all(declared_range.admits(number) for number in numbers)
        if declared_range.nonempty and not entries:
            raise SpecError(f"{owner}: {parameter.name} must not be empty")
    if not fits:
        hint = _hint(parameter.kind, value)
        raise SpecError(
            f"{owner}: {parameter.name} must be {parameter.expected}, got {value!r}{hint}"
        )


def _plain(kind: Any, value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list) and not _has_type(kind, value) and _has_type(kind, tuple(value)):
        return tuple(value)
    return value


def _hint(kind: Any, value: Any) -> str:
    """A hint at the valid word that is nearest to the first invalid one."""
    words = words_of(kind)
    entries = value if isinstance(value, tuple | list) else (value,)
    unknown = [e for e in entries if isinstance(e, str) and e not in words]
    return nearest(unknown[0], words) if unknown else ""


def _has_type(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a dataclass takes no configuration, and needs none
        return TypeAdapter(kind)
