"""The process of an attack: it gets an order, obeys it and answers."""

import pickle
import socket
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import pytest
from support.apart import AsksWrongly
from support.toys import victim

from sltoolkit.referee import apart
from sltoolkit.referee.isolated import _written
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.attacks import GuessesSeed, Honest
from sltoolkit.testing.judging import view_for
from sltoolkit.wire.frames import unpacked


def test_an_attack_draws_from_one_stream_wherever_it_runs() -> None:
    own = apart.attacker_stream(Honest(), 3)
    assert own.seed == Stream(3).child("attacker").fresh("Honest").seed
    assert own.seed not in {
        apart.attacker_stream(Honest(), 4).seed, apart.attacker_stream(AsksWrongly(), 3).seed
    }  # fmt: skip


def answer_to(order: bytes, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The record that the process's main function sends, which runs here."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(apart, "_end_with_the_harness", lambda: None)
    with Connection(ours.detach()) as connection:
        connection.send_bytes(order)
        apart.main(theirs.detach())
        return unpacked(connection.recv_bytes(), "cpu")[0]


def test_an_order_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    attack, on = GuessesSeed(seeds=0), victim()
    view = replace(view_for(attack, on), release=None)
    record = answer_to(_written(attack, view, 3), monkeypatch)
    assert record["kind"] == "error"  # it asks, and there is no oracle
    assert "'NoneType'" in record["args"][0]


def test_an_order_for_what_cannot_be_imported_is_not_obeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = pickle.dumps(Honest()).replace(b"Honest", b"Absent")
    record = answer_to(order, monkeypatch)
    assert record["kind"] == "unready"
    assert "Absent" in record["reason"]
