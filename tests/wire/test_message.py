"""Seats, and bytes counted by toll and by link."""

import json
from collections import Counter

from sltoolkit.wire.message import FED, SERVER, Link, Seat, Toll, by_link, tolls_from, tolls_record

TOLLS = Counter({
    Toll(Seat("client"), SERVER, "smashed", 0): 10,
    Toll(Seat("client", 2), SERVER, "smashed", 0): 20,
    Toll(Seat("client"), SERVER, "smashed", 1): 40,
    Toll(SERVER, Seat("client"), "smashed_grad", 0): 80,
    Toll(Seat("client"), FED, "weights", 1): 160,
})  # fmt: skip


def test_a_servers_copies_are_one_seat() -> None:
    assert Seat("server", copy=1) == Seat("server", copy=2)
    assert len({Seat("server", copy=1), SERVER}) == 1
    assert Seat("client", 1) != Seat("client", 2)


def test_the_first_of_several_goes_without_a_number() -> None:
    assert [str(Seat("client", i)) for i in (0, 1, 12)] == ["client", "client[1]", "client[12]"]


def test_tolls_survive_json() -> None:
    assert tolls_from(json.loads(json.dumps(tolls_record(TOLLS)))) == TOLLS
    assert tolls_record({}) == []
    assert tolls_from([]) == Counter()


def test_links_add_up_clients_and_epochs() -> None:
    assert by_link(TOLLS) == {
        Link("client", "server", "smashed"): 70,
        Link("server", "client", "smashed_grad"): 80,
        Link("client", "fed", "weights"): 160,
    }


def test_an_unused_link_costs_nothing() -> None:
    assert by_link(TOLLS)[Link("server", "fed", "buffers")] == 0
