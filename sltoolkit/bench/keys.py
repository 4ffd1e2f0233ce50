"""The key that a result is stored under: a hash of everything it depends on.

That is the recipe, the sources of the plug-ins it uses, the versions of package and torch, the
number of threads and the device. The same key means the same numbers.
"""

import hashlib
import inspect
import json
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from sltoolkit.errors import SpecError

THREADS = 1
"""One thread per worker: one and two threads give different weights."""


def key_of(what: Any, sources: list[Any]) -> str:
    """The key of what JSON describes and these classes and functions compute."""
    text = json.dumps([what, [_source(s) for s in sources], _environment()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@cache
def _source(thing: Any) -> str:
    """Of the file that defines it, and of the package's files that one takes something from."""
    files = sorted({Path(inspect.getfile(m)) for m in _used(sys.modules[thing.__module__], set())})
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _used(module: ModuleType, found: set[ModuleType]) -> set[ModuleType]:
    found.add(module)
    for value in vars(module).values():
        name = value.__name__ if isinstance(value, ModuleType) else _home(value)
        other = sys.modules.get(name)
        if name.startswith("sltoolkit.") and other is not None and other not in found:
            _used(other, found)
    return found


def _home(value: Any) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


@cache
def _environment() -> tuple[str, ...]:
    return (version("sltoolkit"), torch.__version__, f"{THREADS} thread")


def digest_of(path: str | None) -> str | None:
    """The hash of a file that a spec names, if it names one.

    Raises:
        SpecError: if it can't be read.
    """
    try:
        return path and hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as e:
        raise SpecError(f"{path} can't be read ({e.strerror}): give a file that is there") from e
