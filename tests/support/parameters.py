"""Values that a plug-in must refuse, from its declared parameters."""

import typing
from collections.abc import Iterator, Sequence
from typing import Any

from sltoolkit.parameters.checking import check_value
from sltoolkit.parameters.parameter import Parameter, declared


def check_declared(what: Any) -> None:
    """Each parameter has a meaning, numbers have a range, and grids lie within the range."""
    for parameter in declared(what):
        notes = parameter.parameter
        assert notes is not None, f"{parameter.name} is declared without a Parameter"
        assert notes.meaning, f"{parameter.name} has no meaning"
        assert notes.range or not _number_in(parameter.kind), f"{parameter.name} has no range"
        for value in notes.grid:
            check_value(parameter, value, parameter.name)


def senseless(what: Any) -> Iterator[tuple[str, object]]:
    """Name and value of what must be refused: wrong types, and numbers outside the range."""
    for parameter in declared(what):
        yield parameter.name, object()
        number, several = _number_in(parameter.kind), _is_list(parameter.kind)
        if number is not None:
            beyond = [float("nan"), float("inf"), True, "1", *([0.5] if number is int else [])]
            for value in [*outside(parameter.parameter), *beyond]:
                yield parameter.name, [value] if several else value


def outside(notes: Parameter | None) -> Iterator[float]:
    """The nearest numbers beyond each end of a range, in steps of 1."""
    if notes is not None:
        yield from (end - 1 for end in (notes.least,) if end is not None)
        yield from (end + 1 for end in (notes.most,) if end is not None)
        yield from (end for end in (notes.above, notes.below) if end is not None)


def _number_in(kind: Any) -> type | None:
    """`int` or `float` if a parameter holds numbers."""
    inside = typing.get_args(kind) or (kind,)
    return next((k for k in inside if k in (int, float)), None)


def _is_list(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Sequence)
