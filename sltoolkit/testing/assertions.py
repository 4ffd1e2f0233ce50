"""Refuses an interpreter that skips assertions, because the suite would let everything pass."""

from sltoolkit.errors import SpecError

if not __debug__:
    raise SpecError("python -O removes the suite's assertions: run it without -O")
