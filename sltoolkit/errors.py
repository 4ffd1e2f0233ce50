"""The errors that a user can cause.

Each message says what was expected, what was found and how to fix it.

```
SLToolkitError
├── SpecError          an experiment description or an argument is wrong
├── ThreatModelError   an attack asks for more than its seat holds
├── ProtocolError      the parties of a run don't fit together
├── TamperingError     a plug-in changed the referee, so its result is void
├── DataError          a data set is missing, corrupt or too small
└── StoreError         a result store can't be read or written
```
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class SLToolkitError(Exception):
    """Base of every error that a user's input can cause."""


class SpecError(SLToolkitError):
    """An experiment description or an argument is wrong."""


class ThreatModelError(SLToolkitError):
    """An attack asks for more than its seat holds and the experiment grants."""


class ProtocolError(SLToolkitError):
    """The parties of a run don't fit together."""


class TamperingError(SLToolkitError):
    """A plug-in changed the referee's own functions, so its result is void."""


class DataError(SLToolkitError):
    """A data set is missing, corrupt, out of range or too small."""


class StoreError(SLToolkitError):
    """A result store can't be read or written."""


def nearest(word: str, words: Iterable[str]) -> str:
    """The hint `; did you mean 'x'?` with the nearest of `words`; empty if none is near."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def lookup(registry: Mapping[str, T], name: str, what: str) -> T:
    """The entry `name` of a registry.

    Raises:
        SpecError: if there is none; the message names the nearest entry and all the others.
    """
    if name not in registry:
        known = ", ".join(sorted(registry))
        raise SpecError(f"no {what} is called {name!r}{nearest(name, registry)} (known: {known})")
    return registry[name]
