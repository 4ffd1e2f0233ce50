"""Values that a declared parameter must refuse."""

from collections.abc import Iterator
from typing import Any

from sltoolkit.parameters.parameter import Declared, declared


def senseless_values(kind: type) -> Iterator[tuple[str, Any]]:
    """Every parameter of a class with values of the wrong type and beyond each end of its range."""
    for parameter in declared(kind):
        yield from ((parameter.name, value) for value in (object(), *_beyond(parameter)))


def undeclared(kind: type) -> list[str]:
    """The parameters of a class that say no meaning."""
    return [p.name for p in declared(kind) if p.parameter is None or not p.parameter.meaning]


def _beyond(parameter: Declared) -> Iterator[Any]:
    found = parameter.parameter
    if found is None:
        return
    if found.least is not None:
        yield found.least - 1
    if found.most is not None:
        yield found.most + 1
    yield from (end for end in (found.above, found.below) if end is not None)
    if found.range:
        yield from (float("nan"), float("inf"), True, "1")
