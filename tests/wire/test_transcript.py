"""What the transcript keeps of a run, in memory and on disk."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.streams import Stream
from sltoolkit.wire.message import SERVER, Kind, Link, Seat
from sltoolkit.wire.transcript import Record, Recording, Transcript, rows_of
from sltoolkit.wire.turn import PhaseName, Turn
from sltoolkit.wire.wire import Wire

UP = Link("client", "server", "smashed")
DOWN = Link("server", "client", "smashed_grad")
CLIENT = Seat("client")


def row(ids: Tensor, step: int, kind: Kind) -> Tensor:
    """A payload (B, 2, 3) from which sample, batch and kind can be read."""
    content = ids + 100 * step + (0.5 if kind == "smashed_grad" else 0)
    return content[:, None, None].expand(-1, 2, 3).float()


def converse(
    recording: Recording, *, budget: int = 2**20, epochs: int = 3, phase: PhaseName = "train"
) -> Transcript:
    """Three epochs over ids 10..15 in batches of 4 and 2, recorded."""
    transcript = Transcript(recording, budget_bytes=budget)
    wire = Wire([transcript])
    step = 0
    for epoch in range(epochs):
        order = torch.arange(10, 16).roll(epoch)
        for ids in order.split(4):
            turn = Turn(ids=ids, x=None, y=None, step=step, epoch=epoch, phase=phase, rng=Stream(0))
            up, down = row(ids, step, "smashed"), row(ids, step, "smashed_grad")
            wire.send(up, src=CLIENT, dst=SERVER, kind="smashed", turn=turn)
            wire.send(ids, src=CLIENT, dst=SERVER, kind="labels", turn=turn)
            wire.send(down, src=SERVER, dst=CLIENT, kind="smashed_grad", turn=turn)
            wire.close(turn)
            step += 1
    return transcript


def same(a: Record, b: Record) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_only_the_asked_kinds_are_kept() -> None:
    assert converse(Recording(kinds=frozenset({"smashed"}))).links() == {UP}
    both = converse(Recording(kinds=frozenset({"smashed", "smashed_grad"})))
    assert both.links() == {UP, DOWN}
    assert converse(Recording(kinds=frozenset())).links() == set()


def test_everything_of_a_link_is_kept_in_order() -> None:
    record = converse(Recording(kinds=frozenset({"smashed", "smashed_grad"}))).record(DOWN)
    ids = torch.cat([torch.arange(10, 16).roll(e) for e in range(3)])
    assert torch.equal(record.ids, ids)
    assert record.steps.tolist() == [0] * 4 + [1] * 2 + [2] * 4 + [3] * 2 + [4] * 4 + [5] * 2
    expected = (ids + 100 * record.steps + 0.5).float()
    assert torch.equal(record.rows, expected[:, None, None].expand(-1, 2, 3))


def test_only_the_asked_samples_and_epochs_are_kept() -> None:
    wanted = torch.tensor([15, 11])
    record = converse(
        Recording(kinds=frozenset({"smashed"}), ids=wanted, epochs=frozenset({0, 2}))
    ).record(UP)
    assert record.ids.tolist() == [11, 15, 15, 11]
    assert record.steps.tolist() == [0, 1, 4, 4]
    assert record.rows[:, 0, 0].tolist() == [11, 115, 415, 411]


def test_phases_that_are_no_training_are_not_kept() -> None:
    assert converse(Recording(kinds=frozenset({"smashed"})), phase="fit").links() == set()


def test_what_was_spilled_equals_what_was_held() -> None:
    recording = Recording(kinds=frozenset({"smashed", "smashed_grad"}))
    held, spilled = converse(recording), converse(recording, budget=300)
    assert held.spilled_files == 0
    assert spilled.spilled_files > 2
    for link in (UP, DOWN):
        assert same(held.record(link), spilled.record(link))
        assert same(spilled.record(link), spilled.record(link))
    assert spilled.links() == held.links()


def test_what_was_spilled_goes_away_with_the_transcript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    transcript = converse(Recording(kinds=frozenset({"smashed"})), budget=1)
    assert list(tmp_path.rglob("*.safetensors"))
    del transcript
    assert not list(tmp_path.iterdir())


def test_a_record_put_back_is_the_same() -> None:
    record = converse(Recording(kinds=frozenset({"smashed"}))).record(UP)
    other = Transcript(Recording(kinds=frozenset()))
    other.restore(UP, record)
    assert same(other.record(UP), record)


def test_a_link_that_was_not_recorded_is_an_error_that_says_what_was() -> None:
    transcript = converse(Recording(kinds=frozenset({"smashed"})))
    with pytest.raises(
        ProtocolError, match=r"smashed_grad from server to client.*smashed client->"
    ):
        transcript.record(DOWN)
    with pytest.raises(ProtocolError, match="recorded: nothing"):
        Transcript(Recording(kinds=frozenset())).record(UP)


def test_rows_of_gives_the_last_row_of_each_id_in_the_asked_order() -> None:
    record = converse(Recording(kinds=frozenset({"smashed"}))).record(UP)
    rows = rows_of(record, torch.tensor([13, 10]))
    assert rows.shape == (2, 2, 3)
    assert rows[:, 0, 0].tolist() == [513, 410]


def test_rows_of_an_id_that_was_not_recorded_is_an_error() -> None:
    record = converse(Recording(kinds=frozenset({"smashed"}))).record(UP)
    with pytest.raises(ProtocolError, match=r"1 of 2 targets were not recorded \(the first: 99"):
        rows_of(record, torch.tensor([10, 99]))
