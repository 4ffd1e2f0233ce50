"""Seats and message flow of a protocol as a record, and as a figure."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner, Result

from sltoolkit.cli.app import app
from sltoolkit.cli.flow import draw_flow, flow_record
from sltoolkit.errors import SpecError
from sltoolkit.protocols import PROTOCOLS, Vanilla
from sltoolkit.report.flow import flow_text, seats_text
from sltoolkit.report.message_flow import flow


@pytest.mark.parametrize("name", ["vanilla", "u_shaped", "splitfed_v1", "fedavg"])
def test_the_record_holds_every_message_of_the_flow_as_json(name: str) -> None:
    record = json.loads(json.dumps(flow_record(name)))

    exchanges = flow(PROTOCOLS[name]())
    assert [len(e["steps"]) for e in record["flow"]] == [len(e.steps) for e in exchanges]
    for exchange, plain in zip(exchanges, record["flow"], strict=True):
        ways = [(step["src"], step["dst"]) for step in plain["steps"]]
        assert ways == [(str(step.src), str(step.dst)) for step in exchange.steps]
    assert len(record["seats"]) == len(PROTOCOLS[name]().seats)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_figure_is_written_in_the_format_of_its_name(ending: str, tmp_path: Path) -> None:
    draw_flow("vanilla", tmp_path / f"flow.{ending}")

    start = (tmp_path / f"flow.{ending}").read_bytes()[:8]
    assert start.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending])


@pytest.mark.parametrize("path", ["flow.what", "no/such/folder/flow.png"])
def test_a_figure_that_cannot_be_written_is_a_sentence(path: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't write the figure to"):
        draw_flow("vanilla", tmp_path / path)


def test_only_protocols_have_a_figure(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="only protocols have a figure"):
        draw_flow("decoder", tmp_path / "flow.png")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})


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
