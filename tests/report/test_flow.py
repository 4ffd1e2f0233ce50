"""The text of a flow fits a terminal, and its table of seats is the protocol's."""

from itertools import pairwise

import pytest
from support.flows import EVERY

from sltoolkit.contracts.grants import GRANTS
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.flow import flow_text, seat_order, seats_record, seats_text
from sltoolkit.report.message_flow import Exchange, Step, flow
from sltoolkit.wire.message import SERVER, Seat

CLIENT, OTHER = Seat("client"), Seat("client", 1)


@EVERY
def test_text_fits_a_terminal_and_has_one_arrow_per_message(name: str) -> None:
    exchanges = flow(PROTOCOLS[name]())
    text = flow_text(exchanges)
    assert max(map(len, text.splitlines())) <= 80
    steps = [step for exchange in exchanges for step in exchange.steps]
    lines = [line.split()[0] for line in text.splitlines() if "▶" in line or "◀" in line]
    assert lines == [step.kind for step in steps]


def test_arrows_join_sender_and_receiver() -> None:
    steps = (
        Step(src=CLIENT, dst=SERVER, kind="smashed", numbers=2),
        Step(src=SERVER, dst=OTHER, kind="weights", numbers=1234),
    )
    shown = flow_text([Exchange(about="batch", steps=steps, clients=(CLIENT,))]).splitlines()
    assert [line.rstrip() for line in shown[:4]] == [
        "                      client        client[1]         server",
        "  each batch",
        "    smashed B × 2        ├───────────────┼──────────────▶│",
        "    weights 1,234        │               │◀──────────────┤",
    ]


def test_seats_stand_in_the_order_in_which_they_speak_clients_first() -> None:
    hop, partner, fed = Seat("hop"), Seat("partner1"), Seat("fed")
    down = Step(src=fed, dst=CLIENT, kind="weights", numbers=1)
    batch = tuple(
        Step(src=a, dst=b, kind="smashed", numbers=1)
        for a, b in ((CLIENT, hop), (partner, hop), (hop, SERVER))
    )
    exchanges = [
        Exchange(about="between", steps=(down,), clients=(CLIENT, OTHER)),
        Exchange(about="batch", steps=batch, clients=(CLIENT,)),
    ]
    assert seat_order(exchanges) == [CLIENT, partner, hop, SERVER, fed]
    assert seat_order(exchanges[:1]) == [CLIENT, fed]


@pytest.mark.parametrize("seats", [2, 3, 4, 5])
def test_width_with_the_longest_names_and_kinds(seats: int) -> None:
    chain = [Seat("partner", i) for i in range(seats)]
    steps = tuple(Step(src=a, dst=b, kind="smashed_grad", numbers=100) for a, b in pairwise(chain))
    text = flow_text([Exchange(about="batch", steps=steps, clients=())])
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"{seat} " in f"{text.splitlines()[0]} " for seat in chain)


@EVERY
def test_the_seats_table_is_the_protocols(name: str) -> None:
    seats = PROTOCOLS[name]().seats
    record = seats_record(seats)
    assert {role: set(held) for role, held in record.items()} == {
        role: set(held.grants) for role, held in seats.items()
    }
    lines = seats_text(seats).splitlines()
    assert max(map(len, lines)) <= 80
    starts = {role: lines[0].index(role) for role in seats}
    rows = {line.split()[0]: line for line in lines[1:]}
    for grant in GRANTS:
        for role, held in seats.items():
            cell = rows.get(grant, "")[starts[role] :].split("  ")[0]
            link = held.links.get(grant)
            known = "held" if grant in held.knows else ""
            assert cell == (f"{link.src}▶{link.dst}" if link else known)
