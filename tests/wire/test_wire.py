"""What the wire hands over, counts and lets ears hear."""

import pytest
import torch
from torch import Tensor

from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.wire.message import SERVER, Kind, Link, Seat
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire

CLIENT = Seat("client")


def turn(step: int = 0) -> Turn:
    return Turn(
        ids=torch.arange(2), x=None, y=None, step=step, epoch=0, phase="train", rng=Stream(0)
    )


def up(wire: Wire, t: Tensor, kind: Kind = "smashed") -> Tensor:
    return wire.send(t, src=CLIENT, dst=SERVER, kind=kind, turn=turn())


def test_what_arrives_is_detached_and_equal() -> None:
    weight = torch.randn(3, requires_grad=True)
    sent = weight * 2
    got = up(Wire(), sent)
    assert torch.equal(got, sent)
    assert got.grad_fn is None
    assert not got.requires_grad


def test_no_copy_shares_memory_with_another() -> None:
    ears = [RecordingEar(kind="smashed"), RecordingEar(kind="smashed")]
    sent = torch.randn(2, 3)
    original = sent.clone()
    got = up(Wire(ears), sent)
    got.mul_(0)  # an in-place first layer
    ears[0].messages[0].payload.add_(5)  # a careless listener
    assert torch.equal(sent, original)
    assert torch.equal(ears[1].messages[0].payload, original)
    sent.fill_(7)  # the sender goes on
    assert torch.equal(ears[1].messages[0].payload, original)
    assert torch.equal(got, torch.zeros(2, 3))


def test_payload_bytes_are_counted_by_link() -> None:
    wire = Wire()
    up(wire, torch.zeros(4, 5))
    up(wire, torch.zeros(2, 5, dtype=torch.float64))
    up(wire, torch.zeros(4, dtype=torch.int64), "labels")
    wire.send(
        torch.zeros(4, 5), src=SERVER, dst=Seat("client", 2), kind="smashed_grad", turn=turn()
    )
    up(wire, torch.zeros(0, 5))
    assert wire.bytes == {
        Link("client", "server", "smashed"): 4 * 5 * 4 + 2 * 5 * 8,
        Link("client", "server", "labels"): 4 * 8,
        Link("server", "client", "smashed_grad"): 4 * 5 * 4,
    }


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_format_survives(layout: torch.memory_format) -> None:
    t = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    got = up(Wire(), t)
    assert got.stride() == t.stride()
    assert torch.equal(got, t)


def test_ears_hear_only_what_they_want_in_the_order_it_was_sent() -> None:
    ear = RecordingEar(kind="labels")
    wire = Wire([ear])
    up(wire, torch.zeros(2))
    for k in range(3):
        up(wire, torch.full((2,), k), "labels")
    assert [int(m.payload[0]) for m in ear.messages] == [0, 1, 2]
    assert {(m.src, m.dst, m.kind) for m in ear.messages} == {(CLIENT, SERVER, "labels")}


def test_closing_reaches_every_ear() -> None:
    ears = [RecordingEar(kind="labels"), RecordingEar(kind="smashed")]
    wire = Wire(ears)
    wire.close(turn(3))
    wire.close(turn(4))
    assert [e.closed for e in ears] == [[3, 4], [3, 4]]


def test_seats_read_well() -> None:
    assert [str(s) for s in (SERVER, CLIENT, Seat("client", 2))] == [
        "server",
        "client",
        "client[2]",
    ]


def test_releases_of_a_record_are_counted_by_link_across_seats_of_a_name() -> None:
    wire, link = Wire(), Link("client", "server", "smashed")
    for k, ids in enumerate(([4, 5, 5], [5, 6, 6], [6, 7, 8])):
        its = Turn(
            ids=torch.tensor(ids), x=None, y=None, step=k, epoch=k, phase="train", rng=Stream(0)
        )
        wire.send(torch.zeros(3, 2), src=Seat("client", k), dst=SERVER, kind="smashed", turn=its)
        wire.send(torch.zeros(3), src=Seat("client", k), dst=SERVER, kind="labels", turn=its)

    assert wire.most_about_one_record(link) == 3
    assert wire.most_about_one_record(Link("client", "server", "labels")) == 0
    assert wire.with_ears([]).most_about_one_record(link) == 0
