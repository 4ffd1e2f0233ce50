"""The drawing of a protocol shows what its parties really send, and fits a terminal."""

import json
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch
from matplotlib.image import imread
from torch import nn
from typer.testing import CliRunner, Result

from sltoolkit.cli.app import app
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS, Protocol, UShaped, Vanilla
from sltoolkit.report.flow import flow_text, seat_order, seats_record, seats_text, size_text
from sltoolkit.report.flow_figure import flow_figure
from sltoolkit.report.message_flow import PER_SAMPLE, Exchange, Step, flow
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.message import SERVER, Kind, Link, Seat

CLIENT, OTHER = Seat("client"), Seat("client", 1)
EVERY = pytest.mark.parametrize("name", PROTOCOLS)


def data() -> Split:
    g = torch.Generator().manual_seed(3)
    whole = Samples(
        x=torch.rand(40, 1, 8, 8, generator=g), y=torch.arange(40) % 3,
        ids=torch.arange(40), groups=torch.arange(40),
    )  # fmt: skip
    return Split(
        name="random", private_train=whole[:30], private_holdout=whole[30:35], aux=whole[35:],
        classes=("a", "b", "c"),
    )  # fmt: skip


def network(parts: int) -> tuple[nn.Module, ...]:
    """Another network than the drawing's, which begins with convolutions."""
    head = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh())
    inner = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh()) for _ in range(parts - 2)]
    return (head, *inner, nn.Sequential(nn.Flatten(), nn.Linear(128, 3)))


def counted(protocol: Protocol) -> set[Link]:
    """The traffic on every link of another run, with other network, data and seed."""
    run = seat_parties(
        network(protocol.parts), data(), protocol=protocol, defense=NoDefense(),
        training=Training(epochs=2, batch_size=5) if protocol.learns else None, rng=Stream(9),
    )  # fmt: skip
    run_phases(run, 2)
    return set(run.cast.wire.bytes)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})


def messages(exchange: Exchange) -> list[tuple[Seat, Seat, Kind, int]]:
    return [(s.src, s.dst, s.kind, s.numbers) for s in exchange.steps]


# ---- what is measured ----------------------------------------------------------------------------


@EVERY
def test_the_drawing_has_exactly_the_links_that_the_wire_counts(name: str) -> None:
    protocol = PROTOCOLS[name](clients=3)
    drawn = {
        Link(step.src.name, step.dst.name, step.kind)
        for exchange in flow(protocol)
        for step in exchange.steps
    }
    assert drawn == counted(protocol)


@EVERY
def test_the_drawing_repeats_nothing(name: str) -> None:
    exchanges = flow(PROTOCOLS[name]())
    said = [(e.about, e.steps) for e in exchanges]
    assert len(said) == len(set(said))
    for exchange in exchanges:
        half = len(exchange.steps) // 2
        assert exchange.steps != 2 * exchange.steps[:half]


def test_vanilla_sends_labels_and_smashed_data_and_hands_weights_over() -> None:
    batch, between = flow(Vanilla())
    assert (batch.about, batch.clients) == ("batch", (CLIENT, OTHER))
    assert messages(batch) == [
        (CLIENT, SERVER, "labels", 1),
        (CLIENT, SERVER, "smashed", 16),
        (SERVER, CLIENT, "smashed_grad", 16),
    ]
    assert (between.about, between.clients) == ("between", (CLIENT,))
    assert messages(between) == [
        (CLIENT, OTHER, "weights", 64 * 16 + 16 + 2 * 16),
        (CLIENT, OTHER, "buffers", 2 * 16 + 1),
    ]


def test_u_shaped_goes_there_and_back_without_labels() -> None:
    batch, between = flow(UShaped())
    assert messages(batch) == [
        (CLIENT, SERVER, "smashed", 16),
        (SERVER, CLIENT, "smashed", 8),
        (CLIENT, SERVER, "smashed_grad", 8),
        (SERVER, CLIENT, "smashed_grad", 16),
    ]
    assert [s.kind for s in between.steps] == ["weights", "buffers"]


def test_parameters_change_the_drawing() -> None:
    through = flow(Vanilla(handover="server", optimizer_state=True))[1]
    assert [(s.src, s.dst, s.kind) for s in through.steps] == [
        (a, b, kind)
        for kind in ("weights", "buffers", "optimizer")
        for a, b in ((CLIENT, SERVER), (SERVER, OTHER))
    ]
    assert [e.about for e in flow(Vanilla(handover="none"))] == ["batch"]
    assert "labels" not in {s.kind for e in flow(Vanilla(labels_at="server")) for s in e.steps}


def test_drawing_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert flow(Vanilla()) == flow(Vanilla())
    assert torch.equal(before, torch.get_rng_state())


# ---- text and figure -----------------------------------------------------------------------------


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


@EVERY
def test_the_figure_writes_every_message_on_its_arrow(name: str) -> None:
    exchanges = flow(PROTOCOLS[name]())
    figure = flow_figure(exchanges, title=name)
    written = [text.get_text() for text in figure.axes[0].texts]
    steps = [step for exchange in exchanges for step in exchange.steps]
    labels = [f"{step.kind}, {size_text(step)}" for step in steps]
    assert [text for text in written if text in labels] == labels


def test_every_kind_is_about_samples_or_state() -> None:
    state = {"weights", "buffers", "weight_grad", "optimizer"}
    assert set(get_args(Kind)) == PER_SAMPLE | state


# ---- command -------------------------------------------------------------------------------------


def test_describe_shows_seats_and_flow_and_writes_the_figure(tmp_path: Path) -> None:
    path = tmp_path / "vanilla.png"
    shown = call("describe", "vanilla", "--figure", path)
    assert shown.exit_code == 0, shown.output
    assert seats_text(Vanilla().seats) in shown.stdout
    assert flow_text(flow(Vanilla())) in shown.stdout
    assert imread(path).std() > 0.05


def test_describe_gives_seats_and_flow_as_json() -> None:
    record = json.loads(call("describe", "u_shaped", "--json").stdout)
    assert record["seats"]["server"]["smashed"] == "heard from client to server"
    assert record["seats"]["client"]["labels"] == "held"
    assert record["flow"][0]["clients"] == ["client", "client[1]"]
    assert record["flow"][0]["steps"][1] == {
        "src": "server", "dst": "client", "kind": "smashed", "numbers": 8,
    }  # fmt: skip


def test_a_figure_of_something_else_or_to_nowhere_is_a_users_mistake(tmp_path: Path) -> None:
    other = call("describe", "whitebox", "--figure", tmp_path / "x.png")
    nowhere = call("describe", "vanilla", "--figure", tmp_path / "absent" / "x.png")
    strange = call("describe", "vanilla", "--figure", tmp_path / "x.docx")
    for result, said in ((other, "protocol"), (nowhere, "absent"), (strange, "docx")):
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.output
