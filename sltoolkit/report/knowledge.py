"""An attacker's knowledge: in words, and ordered by strength."""

from collections.abc import Mapping
from typing import Any

WORDS = {
    "client_weights": "the client's weights", "peer_weights": "another client's weights",
    "updates": "a client's updates", "release": "queries",
    "hijacks": "hijacks the training", "heard": "heard the training",
    "aux": "own samples", "peer_samples": "another client's samples",
    "client_arch": "the client's architecture",
}  # fmt: skip
"""Knowledge -> words for it, the strongest first; any other comes last, under its own name."""

_ANYWAY = {"smashed", "labels", "server_weights"}
"""Grants that are heard on the wire, or that belong to the server: they are no extra knowledge."""

_LISTENING: Mapping[str, set[str]] = {"listening": {"heard"}, "actively": {"heard", "hijacks"}}


def knowledge_of(row: Mapping[str, Any]) -> frozenset[str]:
    """What a row's attacker knew besides the messages: its grants, and how it was mounted."""
    granted = {g for g in str(row["knowledge"]).split("+") if g and g not in _ANYWAY}
    return frozenset(granted | _LISTENING.get(str(row.get("mounted", "")), set()))


def knowledge_text(known: frozenset[str]) -> str:
    """Knowledge in words, as `queries, own samples`; hijackers hear the training without saying."""
    said = known - {"heard"} if "hijacks" in known else known
    return ", ".join(WORDS.get(item, item) for item in sorted(said, key=_rank))


def strength(known: frozenset[str]) -> tuple[tuple[int, str], ...]:
    """A key that sorts the strongest knowledge first."""
    return tuple(sorted(_rank(item) for item in known)) or ((len(WORDS) + 1, ""),)


def _rank(item: str) -> tuple[int, str]:
    order = list(WORDS)
    return (order.index(item) if item in order else len(order), item)
