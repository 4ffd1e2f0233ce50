"""The declaration of a parameter, which is written once, in an annotation.

    weight: Annotated[float | None, Parameter("weight of a penalty", least=0, grid=(0.1, 1))] = None

Python's own syntax states the type and the default; `Parameter` adds meaning, range and grid.
Attacks, defenses, protocols, partitions and reducers annotate their dataclass fields in this way,
and models annotate the arguments of their factories. The declaration decides how values are checked
(`checking`), what rehearsals compare (`grids`), what `sltoolkit describe` prints, and what the
pages of the documentation say.
"""

import inspect
import types
import typing
from collections.abc import Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, final

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts"}


@final
@dataclass(frozen=True)
class Parameter:
    """What a declaration says about a parameter besides its name, type and default.

    Attributes:
        meaning: what it stands for, and in which unit, as half a sentence.
        least: the smallest number allowed.
        above: the number that it must be greater than.
        most: the largest number allowed.
        below: the number that it must be smaller than.
        nonempty: whether a tuple needs at least one entry.
        grid: the values that a rehearsal compares while the parameter is None, the default first.
    """

    meaning: str
    _: KW_ONLY
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    nonempty: bool = False
    grid: tuple[Any, ...] = ()

    def admits(self, number: float) -> bool:
        """Whether a number lies in the range; infinity and NaN never do."""
        return (
            abs(number) < float("inf")
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    @property
    def range(self) -> str:
        """The range in words; empty if any number is allowed."""
        bounds = [
            (self.least, "at least"), (self.above, "above"),
            (self.most, "at most"), (self.below, "below"),
        ]  # fmt: skip
        return " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)


@final
@dataclass(frozen=True)
class Declared:
    """A parameter as a plug-in declares it.

    Attributes:
        name: the name of the field or argument.
        kind: its type, without `Annotated`.
        default: its default value; `dataclasses.MISSING` if a value must be given.
        parameter: meaning, range and grid; None if the author declared none.
    """

    name: str
    kind: Any
    default: Any
    parameter: Parameter | None

    @property
    def expected(self) -> str:
        """What a value must be, in words: `a whole number of at least 1, or None`."""
        options = _options(self.kind)
        words = [_in_words(option) for option in options if option is not types.NoneType]
        text = " or ".join(words)
        if self.parameter is not None and self.parameter.range:
            text += f" {'' if self.parameter.least is None else 'of '}{self.parameter.range}"
        return f"{text}, or None" if types.NoneType in options else text


@cache
def declared(what: Any) -> tuple[Declared, ...]:
    """The parameters of a plug-in class (its dataclass fields) or of a model's factory.

    The parameters of a factory are its arguments with a default; the data decide the others.
    """
    hints = typing.get_type_hints(what, include_extras=True)
    if is_dataclass(what):
        named = [(f.name, f.default) for f in fields(what) if f.init]
    else:
        signature = inspect.signature(what).parameters.values()
        named = [(p.name, p.default) for p in signature if p.default is not p.empty]
    return tuple(_declared(name, hints.get(name, Any), default) for name, default in named)


def _declared(name: str, hint: Any, default: Any) -> Declared:
    if typing.get_origin(hint) is not typing.Annotated:
        return Declared(name, hint, default, None)
    kind, *notes = typing.get_args(hint)
    found = [note for note in notes if isinstance(note, Parameter)]
    return Declared(name, kind, default, found[0] if found else None)


def required(parameter: Declared) -> bool:
    """Whether the parameter has no default, so that a value must be given."""
    return parameter.default is MISSING


def words_of(kind: Any) -> tuple[str, ...]:
    """The texts that a type with `Literal` allows, directly or as the entries of a list."""
    if typing.get_origin(kind) is Literal:
        return tuple(word for word in typing.get_args(kind) if isinstance(word, str))
    return tuple(word for inner in typing.get_args(kind) for word in words_of(inner))


def _options(kind: Any) -> tuple[Any, ...]:
    """The members of a union; for any other type, the type itself."""
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return typing.get_args(kind) if union else (kind,)


def _in_words(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}" if len(inner) > 1 else repr(inner[0])
    if origin in (tuple, list, Sequence) and inner:
        if typing.get_origin(inner[0]) is Literal:
            return f"a list of {', '.join(map(repr, typing.get_args(inner[0])))}"
        return f"a list of {_SEVERAL.get(inner[0], getattr(inner[0], '__name__', inner[0]))}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
