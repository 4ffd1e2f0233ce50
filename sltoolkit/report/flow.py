"""A protocol's seats and its message flow, as text for a terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import GRANTS, Holdings
from sltoolkit.report.message_flow import PER_SAMPLE, Exchange, Step
from sltoolkit.wire.message import Seat

LEGEND = "B: samples in the batch; all numbers are those of a tiny network"

Scene = tuple[str, list[Step]]
"""A heading, and the steps under it."""

_WIDTH = 80  # characters of a terminal
_SPACING = 16  # characters between two seats, where there is room


def seats_record(seats: Mapping[Role, Holdings]) -> dict[str, dict[str, str]]:
    """What each role holds by its position: role -> grant -> `held`, or where it is heard."""

    def holding(held: Holdings, grant: str) -> str:
        if grant not in held.links:
            return "held"
        passed = f" after {held.hops} hops" if held.hops and grant == "smashed" else ""
        return f"heard from {held.links[grant].src} to {held.links[grant].dst}{passed}"

    return {
        role: {grant: holding(held, grant) for grant in GRANTS if grant in held.grants}
        for role, held in seats.items()
    }


def seats_text(seats: Mapping[Role, Holdings]) -> str:
    """A table of grants (down) by roles (across): `held`, or the link on which it is heard.

    Args:
        seats: the protocol's seats.
    """

    def cell(held: Holdings, grant: str) -> str:
        if grant in held.links:
            return f"{held.links[grant].src}▶{held.links[grant].dst}"
        return "held" if grant in held.knows else ""

    rows = [["", *seats]]
    for grant in GRANTS:
        if any(grant in held.grants for held in seats.values()):
            rows.append([grant, *(cell(held, grant) for held in seats.values())])
            if grant == "smashed" and any(held.hops for held in seats.values()):
                rows.append(["  after hops", *(str(held.hops or "") for held in seats.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(f"  {line}" for line in lines)


def flow_text(exchanges: Sequence[Exchange]) -> str:
    """A sequence diagram: a column per seat, a line per message.

    It is at most 80 characters wide with up to 5 seats.

    Args:
        exchanges: the protocol's exchanges, as `flow` measures them.
    """
    steps = [step for exchange in exchanges for step in exchange.steps]
    seats = seat_order(exchanges)
    labels = (max(len(s.kind) for s in steps), max(len(size_text(s)) for s in steps))
    left = sum(labels) + 5
    spacing = min(_SPACING, max(*(len(str(s)) + 1 for s in seats), (_WIDTH - left) // len(seats)))
    place = {seat: spacing * i + spacing // 2 for i, seat in enumerate(seats)}
    lines = [" " * left + "".join(f"{seat!s:^{spacing}}" for seat in seats).rstrip()]
    for title, steps in scenes(exchanges):
        lines.append(f"  {title}")
        for step in steps:
            label = f"    {step.kind:<{labels[0]}} {size_text(step):>{labels[1]}}"
            lines.append(f"{label:<{left}}{_arrow(step, place)}")
    return "\n".join([*lines, "", f"  {LEGEND}"])


def seat_order(exchanges: Sequence[Exchange]) -> list[Seat]:
    """Seats from left to right: clients first, then the others in order of appearance.

    Exchanges about batches count as earlier than those between batches.
    """
    ordered = sorted(exchanges, key=lambda exchange: exchange.about)
    seats: dict[Seat, None] = {}
    for exchange in ordered:
        seats |= dict.fromkeys(step.src for step in exchange.steps)
        seats |= dict.fromkeys(step.dst for step in exchange.steps)
    clients = [seat for e in ordered for seat in e.clients]
    names = list(dict.fromkeys(seat.name for seat in (*clients, *seats)))
    return sorted(seats, key=lambda seat: (names.index(seat.name), seat.index))


def scenes(exchanges: Sequence[Exchange]) -> list[Scene]:
    """Exchanges under their headings; neighbors with the same heading share it."""
    return [
        (title, [step for exchange in group for step in exchange.steps])
        for title, group in groupby(exchanges, key=_heading)
    ]


def _heading(exchange: Exchange) -> str:
    """When an exchange happens, and which other clients do the same."""
    when = "each batch" if exchange.about == "batch" else "between batches"
    others = ", ".join(map(str, exchange.clients[1:]))
    return f"{when}, {others} like {exchange.clients[0]}" if others else when


def size_text(step: Step) -> str:
    """How many numbers a message holds: `B × 16` or `1,072`."""
    return f"B × {step.numbers}" if step.kind in PER_SAMPLE else f"{step.numbers:,}"


def _arrow(step: Step, place: Mapping[Seat, int]) -> str:
    """Lifelines with an arrow from the sender's to the receiver's."""
    line = [" "] * (max(place.values()) + 1)
    for x in place.values():
        line[x] = "│"
    start, end = sorted((place[step.src], place[step.dst]))
    for x in range(start + 1, end):
        line[x] = "─" if line[x] == " " else "┼"
    rightwards = place[step.src] == start
    line[start] = "├" if rightwards else "│"
    line[end] = "│" if rightwards else "┤"
    line[end - 1 if rightwards else start + 1] = "▶" if rightwards else "◀"
    return "".join(line)
