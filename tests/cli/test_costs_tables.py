"""The tables of `costs`: columns per paper, the best cut, and what is not counted."""

from typing import Any

import pytest

from sltoolkit.cli.costs_tables import show_costs


def answer(**changes: Any) -> dict[str, Any]:
    sent = [
        {"clients": k, "paper": paper, "method": method, "total_bytes": 1e6 * k,
         "per_client_bytes": 1e6}
        for k in (1, 1000)
        for paper, methods in (("singh", ("split_shared", "split_private", "federated")),
                               ("splitfed", ("split", "federated")))
        for method in methods
    ]  # fmt: skip
    return {
        "model": "lenet", "data": "mnist", "cut": "relu2", "cut_width": 1024, "params": 1000,
        "client_params": 250, "client_training_flops": 30, "server_training_flops": 70,
        "samples": 60_000, "scalar_bytes": 4, "label_bytes": 480_000, "client_buffer_bytes": 0,
        "buffer_bytes": 0, "communication": sent, "latency": [], "figures": ["out/sent.pdf"],
        "machines": "slow ones",
        "break_even": [
            {"paper": "singh", "method": "split_shared", "clients": 12.34},
            {"paper": "singh", "method": "split_private", "clients": 1234.5},
            {"paper": "splitfed", "method": "split", "clients": None},
        ],
    } | changes  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def said(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    show_costs(answer(**changes))
    return capsys.readouterr().out


def test_shares_numbers_and_files_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(said(capsys).split())

    assert "lenet on mnist, cut after relu2: 1,024 numbers per sample cross it" in text
    assert "the client holds 25.0% of 1,000 parameters and does 30.0% of the FLOPs" in text
    assert "480 kB of labels" in text
    assert "out/sent.pdf" in text


def test_break_evens_are_told_and_never_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.strip() for line in said(capsys).splitlines()]

    assert "Singh, weights handed on: 12.3" in lines
    assert "Singh, private weights: 1,234.5" in lines
    assert "SplitFed: never" in lines


def test_what_all_send_and_what_one_sends_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in said(capsys).splitlines() if line.strip().startswith("1,000")]

    assert rows == [["1,000", *["1", "GB"] * 5], ["1,000", *["1", "MB"] * 5]]


def test_buffers_are_told_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert "BatchNorm" not in said(capsys)
    text = " ".join(said(capsys, client_buffer_bytes=64, buffer_bytes=256).split())
    assert "64 B for the client's part, 256 B for the whole model" in text


def test_the_best_cut_of_every_protocol_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    times = {("split", "conv1"): 30, ("split", "relu2"): 20,
             ("splitfed", "conv1"): 5, ("splitfed", "relu2"): 6}  # fmt: skip
    latency = [{"clients": 2, "protocol": "federated", "cut": None, "seconds": 90.0}] + [
        {"clients": 2, "protocol": p, "cut": at, "seconds": s} for (p, at), s in times.items()
    ]

    text = said(capsys, latency=latency)

    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert rows["conv1"] == ["30", "s", "5", "s", "*"]
    assert rows["relu2"] == ["20", "s", "*", "6", "s"]
    assert "federated: 1.5 min" in text
    assert "latencies: slow ones" in text
