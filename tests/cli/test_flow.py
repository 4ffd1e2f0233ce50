"""Seats and message flow of a protocol as a record, and as a figure."""

import json
from pathlib import Path

import pytest

from sltoolkit.cli.flow import draw_flow, flow_record
from sltoolkit.errors import SpecError
from sltoolkit.protocols import PROTOCOLS
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
