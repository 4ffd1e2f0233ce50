"""Liveness: the first reason counts, and a process that neither sends nor awaits has stalled."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch._C._distributed_c10d import HashStore

from sltoolkit.serve import liveness
from sltoolkit.serve.liveness import Liveness

NAMES = ["server", "client"]
TIMEOUT = 0.4


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "LINGER", 0.2)


@contextmanager
def processes(timeout: float = TIMEOUT) -> Iterator[tuple[Liveness, Liveness]]:
    store = HashStore()
    both = Liveness(store, 0, NAMES, timeout), Liveness(store, 1, NAMES, timeout)
    for process in both:
        process.open()
    try:
        yield both
    finally:
        for process in both:
            process.close(failed=False)


def busy(*processes: Liveness, seconds: float) -> None:
    """Let these processes exchange messages for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in processes:
            process.done()
        time.sleep(0.02)


def test_the_first_reason_is_everybodys() -> None:
    with processes() as (server, client):
        assert client.fail("client:  the   labels\nare gone") == "client: the labels are gone"
        assert server.fail("server: something else") == "client: the labels are gone"
        assert client.fail("client: yet another") == "client: the labels are gone"


def test_others_learn_a_reason_without_asking() -> None:
    with processes() as (server, client):
        server.fail("server: broken")

        assert client.asked(5) == "server: broken"


def test_without_a_reason_waiting_is_in_vain() -> None:
    with processes(timeout=60) as (_, client):
        assert client.asked(0.05) is None


def test_a_reason_is_not_endless() -> None:
    with processes(timeout=60) as (server, _):
        assert len(server.fail("x" * 10_000)) == 2000


def test_processes_that_work_have_not_stalled() -> None:
    with processes() as (server, client):
        busy(server, client, seconds=3 * TIMEOUT)

        assert server.failure is None
        assert client.failure is None


def test_a_process_that_waits_has_not_stalled_but_the_one_it_waits_for_has() -> None:
    with processes() as (server, _):
        server.awaits(1)  # and the client says nothing

        assert server.asked(10 * TIMEOUT) == (
            f"client: stalled, for {TIMEOUT} s it neither sent nor asked for anything"
        )


def test_a_process_that_is_gone_has_stalled() -> None:
    with processes() as (server, client):
        client.close(failed=False)
        client.awaits(0)  # its last word; no thread shows anything after it
        end = time.monotonic() + 10 * TIMEOUT
        while server.failure is None and time.monotonic() < end:
            busy(server, seconds=0.05)

        assert server.failure is not None
        assert server.failure.startswith("client: stalled")


def test_everybody_has_a_name() -> None:
    with processes() as (server, client):
        assert (server.name, client.name) == ("server", "client")
