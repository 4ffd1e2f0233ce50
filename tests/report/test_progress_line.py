"""How the progress of a training is shown."""

import pytest
from support.toys import CUT, network, split

import sltoolkit as sl


def test_progress_in_a_terminal_rewrites_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the captured stream for a terminal
    show = sl.ProgressLine("victim 1")
    for epoch in (1, 2, 3):
        show(epoch, 3)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    first, second, last = (line.rstrip() for line in said.err.split("\r"))
    assert first == "victim 1: epoch 1 of 3"
    assert second.startswith("victim 1: epoch 2 of 3, ")
    assert second.endswith(" s left")
    assert last == "victim 1: epoch 3 of 3"


def test_progress_in_a_log_is_one_line_per_training(capsys: pytest.CaptureFixture[str]) -> None:
    show = sl.ProgressLine()
    for _ in range(2):
        sl.train(network, split(), cut=CUT, training=sl.Training(epochs=3), progress=show)
    said = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert said == ["training: epoch 3 of 3"] * 2
