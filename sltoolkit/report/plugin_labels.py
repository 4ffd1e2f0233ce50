"""Short names for defenses and attacks: the name, and the parameters that tell two apart."""

import json
from collections.abc import Sequence
from typing import Any

UNDEFENDED = ("none", "no_defense")
"""Names in rows that mean no defense."""

_TELLING = ("epsilon",)
"""Parameters that are shown even if a plug-in has too many parameters to show them all."""

_Links = list[tuple[str, dict[str, Any]]]


def labels(names: Sequence[str], params: Sequence[str], *, lone: int = 0) -> list[str]:
    """`name(key=value)` with the parameters that vary among the entries of the same name.

    Args:
        names: plug-in names; a chain's links are joined by `+`.
        params: their parameters as JSON (a chain's: a list, link by link).
        lone: a plug-in whose parameters don't vary shows all of them if it has at most this many,
            otherwise only its privacy budget; 0 shows none.
    """
    entries = {key: _links(*key) for key in dict.fromkeys(zip(names, params, strict=True))}
    alike: dict[str, list[_Links]] = {}
    for (name, _), links in entries.items():
        alike.setdefault(name, []).append(links)
    made = {
        (name, text): "+".join(
            _label(link, own, [other[i][1] for other in alike[name]], lone)
            for i, (link, own) in enumerate(links)
        )
        for (name, text), links in entries.items()
    }
    return [made[key] for key in zip(names, params, strict=True)]


def _links(name: str, text: str) -> _Links:
    loaded = json.loads(text) if text else {}
    given = loaded if isinstance(loaded, list) else [loaded]
    return list(zip(name.split("+"), given, strict=True))


def _label(name: str, own: dict[str, Any], alike: list[dict[str, Any]], lone: int) -> str:
    if name in UNDEFENDED:
        return "undefended"
    shown = [key for key in own if any(other.get(key) != own[key] for other in alike)]
    if not shown and lone:
        shown = [key for key in own if key in _TELLING or len(own) <= lone]
    inner = ", ".join(f"{key}={_value(own[key])}" for key in shown)
    return f"{name}({inner})" if inner else name


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
