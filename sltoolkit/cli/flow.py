"""What `describe` adds for a protocol: its seats, and its message flow."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sltoolkit.cli.options import Record
from sltoolkit.errors import SpecError, lookup
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.flow import flow_text, seats_record, seats_text
from sltoolkit.report.message_flow import Exchange, flow


def flow_record(name: str) -> Record:
    """Seats and message flow of a protocol as a record, for other programs."""
    protocol = PROTOCOLS[name]()
    return {
        "seats": seats_record(protocol.seats),
        "flow": [_plain(exchange) for exchange in flow(protocol)],
    }


def show_flow(name: str) -> None:
    """Print the seats and the message flow of a protocol."""
    console, protocol = Console(), PROTOCOLS[name]()
    drawn = {
        "seats": seats_text(protocol.seats),
        "flow": flow_text(flow(protocol)),
    }
    for title, text in drawn.items():
        console.print(Text(f"\n{title}", style="bold"))
        console.print(Text(text), soft_wrap=True)


def draw_flow(name: str, path: Path) -> None:
    """Draw the message flow of a protocol to a file.

    Raises:
        SpecError: if no protocol has that name, or the file can't be written.
    """
    from sltoolkit.report.flow_figure import flow_figure

    exchanges = flow(lookup(PROTOCOLS, name, "protocol (only protocols have a figure)")())
    try:
        flow_figure(exchanges, title=name).savefig(path)
    except (OSError, ValueError) as error:  # ValueError: a format that matplotlib doesn't write
        raise SpecError(f"can't write the figure to {path}: {error}") from error


def _plain(exchange: Exchange) -> Record:
    return {
        "about": exchange.about,
        "clients": [str(seat) for seat in exchange.clients],
        "steps": [
            asdict(step) | {"src": str(step.src), "dst": str(step.dst)} for step in exchange.steps
        ],
    }
