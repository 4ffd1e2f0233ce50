"""`sltoolkit costs`, as a user meets it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.lines import Line2D
from typer.testing import CliRunner, Result

from sltoolkit.cli.app import app
from sltoolkit.costs import latency, registered_costs, singh, splitfed
from sltoolkit.costs.units import (
    bits_per_second,
    bytes_text,
    client_counts,
    count_text,
    flops_per_second,
    seconds_text,
)
from sltoolkit.errors import SpecError
from sltoolkit.report.costs import communication_figure, latency_figure

SPEEDS = ("--rate", "10Mbit", "--client-gflops", "5", "--server-gflops", "1000")


def call(*arguments: str | Path, columns: int = 200) -> Result:
    return CliRunner().invoke(
        app, ["costs", *(str(a) for a in arguments)], env={"COLUMNS": str(columns)}
    )


def on(folder: Path, *more: str, model: str = "mlp", data: str = "digits") -> tuple[str, ...]:
    return ("--model", model, "--data", data, "--out", str(folder), *more)


def answer(folder: Path, *more: str, **what: str) -> Any:
    done = call(*on(folder, "--json", *more, **what))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_help_has_an_example() -> None:
    shown = call("--help")
    assert shown.exit_code == 0
    assert "Example: sltoolkit costs" in shown.output


def test_the_table_is_readable_in_eighty_columns_and_keeps_the_papers_apart(
    tmp_path: Path,
) -> None:
    done = call(*on(tmp_path, "--clients", "1000,10,1", "--cut", "relu1", *SPEEDS), columns=80)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "mlp on digits, cut after relu1: 256 numbers per sample cross it" in text
    # three and two columns in each of two tables, and one line of a break-even
    assert text.count("Singh:") == 2 * 3
    assert text.count("SplitFed:") == 2 * 2 + 1
    assert "compare within a paper only" in text
    assert "1,000 clients, by cut (* the best)" in text
    assert "…" not in done.stdout
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    starts = [line.split()[0] for line in lines if line.strip()]
    assert starts.index("1") < starts.index("10") < starts.index("1,000")


def test_numbers_are_those_of_the_formulas_in_bytes(tmp_path: Path) -> None:
    found = answer(tmp_path, "--clients", "1,10", "--cut", "relu1", "--samples", "100")
    split = {c.at: c for c in registered_costs("mlp", (1, 8, 8), classes=10)}["relu1"]
    work = split.workload(clients=10, samples=100)
    sent = {
        (x["clients"], x["paper"], x["method"]): (x["per_client_bytes"], x["total_bytes"])
        for x in found["communication"]
    }
    assert len(sent) == len(found["communication"]) == 2 * (3 + 4)
    for paper, formulas in (("singh", singh.FORMULAS), ("splitfed", splitfed.FORMULAS)):
        for method, formula in formulas.items():
            volume = formula(work)
            assert sent[10, paper, method] == (4 * volume.per_client, 4 * volume.total)
    assert found["label_bytes"] == 800
    even = {(x["paper"], x["method"]): x["clients"] for x in found["break_even"]}
    assert even["singh", "split_private"] == 100 * 256 / work.params
    assert found["latency"] == []


def test_latencies_mark_the_best_cut_of_every_protocol(tmp_path: Path) -> None:
    found = answer(tmp_path, "--clients", "1,10", "--samples", "100", *SPEEDS)
    cut_times: dict[tuple[int, str], dict[str, float]] = {}
    for x in found["latency"]:
        if x["cut"] is not None:
            cut_times.setdefault((x["clients"], x["protocol"]), {})[x["cut"]] = x["seconds"]
    assert cut_times.keys() == {(k, p) for k in (1, 10) for p in latency.SPLIT_PROTOCOLS}
    best = {(x["clients"], x["protocol"]): x["cut"] for x in found["latency"] if x["best"]}
    assert best == {key: min(times, key=times.__getitem__) for key, times in cut_times.items()}
    assert all("flatten" not in times for times in cut_times.values())  # the inputs themselves

    split = {c.at: c for c in registered_costs("mlp", (1, 8, 8), classes=10)}["relu1"]
    case = latency.from_flops(
        split, clients=10, samples=100, rate=10e6 / 32, client_flops=5e9, server_flops=1e12
    )
    assert cut_times[10, "splitfed"]["relu1"] == latency.splitfed(case)
    federated = [x["seconds"] for x in found["latency"] if x["protocol"] == "federated"]
    assert federated[1] == latency.federated(case)


def test_the_figures_are_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    found = answer(out, "--clients", "1,10,100", *SPEEDS)
    assert [Path(p).name for p in found["figures"]] == ["communication.png", "latency.png"]
    for path in found["figures"]:
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 500
        assert pixels.std() > 0.05
    assert {p.name for p in out.iterdir()} == {"communication.png", "latency.png"}


def test_no_files_of_the_data_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLTOOLKIT_DATA", str(tmp_path / "absent"))
    found = answer(tmp_path, model="resnet20", data="cifar10")
    assert found["samples"] == 50_000
    assert found["cut"] == "layer1_2"
    assert found["buffer_bytes"] > found["client_buffer_bytes"] > 0
    assert {x["clients"] for x in found["communication"]} == {1, 10, 100, 1000}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "mpl"), "did you mean 'mlp'"),
        (("--data", "digit"), "did you mean 'digits'"),
        (("--cut", "relu7"), "no cut of mlp is called 'relu7'"),
        (("--clients", "1,two"), "whole numbers of at least 1, separated by commas"),
        (("--clients", "0"), "whole numbers of at least 1"),
        (("--clients", "2000"), "2000 clients can't share 1797 samples"),
        (("--rate", "10Mbit"), "also give --client-gflops and --server-gflops"),
        ((*SPEEDS, "--rate", "fast"), "such as 10Mbit, got 'fast'"),
        ((*SPEEDS, "--client-gflops", "0"), "--client-gflops must be a number of GFLOP/s above 0"),
        ((*SPEEDS, "--server-gflops", "nan"), "--server-gflops must be"),
        (("--data", "none.npz"), "none.npz is missing"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = call(*on(tmp_path / "out", "--clients", "1"), *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_figures_way_and_missing_options_are_the_users_mistake(
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").touch()
    result = call(*on(tmp_path / "taken", "--clients", "1"))
    assert result.exit_code == 2
    assert "name a folder by --out" in result.stderr
    assert call("--model", "mlp").exit_code == 2
    assert call(*on(tmp_path, "--samples", "0")).exit_code == 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10Mbit", 1e7), ("1 Gbit/s", 1e9), ("2.5kbps", 2500), ("64bit", 64), ("1e3 mbit", 1e9)],
)
def test_rates_are_read(text: str, rate: float) -> None:
    assert bits_per_second(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "Mbit", "0Mbit", "-1Mbit", "10MB", "1.2.3Mbit", "1e999bit", "10 Mbit x"]
)
def test_nonsense_is_no_rate(text: str) -> None:
    with pytest.raises(SpecError, match="bits per second such as 10Mbit"):
        bits_per_second(text)


def test_counts_and_speeds_are_read() -> None:
    assert client_counts("100, 1,10,1") == [1, 10, 100]
    assert flops_per_second(5, "speed") == 5e9
    with pytest.raises(SpecError, match="speed must be"):
        flops_per_second(math.inf, "speed")


def test_quantities_are_written_with_three_digits_and_a_unit() -> None:
    assert [bytes_text(n) for n in (0, 7, 999, 999.7, 1234, 5.5e7, 2e21)] == [
        "0 B", "7 B", "999 B", "1 kB", "1.23 kB", "55 MB", "2,000 EB",
    ]  # fmt: skip
    assert [count_text(n) for n in (1, 1500, 1e6)] == ["1", "1.5 k", "1 M"]
    assert [seconds_text(s) for s in (0.0123, 1, 90, 5400, 1e6)] == [
        "12.3 ms", "1 s", "1.5 min", "1.5 h", "11.6 d",
    ]  # fmt: skip


def test_a_figure_shows_the_break_even_and_the_best_cut() -> None:
    split = {c.at: c for c in registered_costs("mlp", (1, 8, 8), classes=10)}["relu1"]
    work = split.workload(clients=1, samples=1797)
    figure = communication_figure(work, [1, 5, 20], title="mlp")
    even = singh.break_even_clients(
        params=work.params, samples=work.samples, cut_width=work.cut_width
    )
    first, _, plane = figure.axes[:3]
    vertical = [xs(line)[0] for line in first.lines if line.get_linestyle() == ":"]
    assert even in vertical
    hyperbola = plane.lines[1]
    product = xs(hyperbola) * np.asarray(hyperbola.get_ydata())
    assert product == pytest.approx(even * work.params)

    times = {p: {"a": 9.0, "b": 4.0 + i} for i, p in enumerate(latency.SPLIT_PROTOCOLS)}
    drawn = latency_figure({1: times, 2: times, 3: times}, {1: 7, 2: 7, 3: 7}, title="mlp")
    for axis in drawn.axes[:3]:
        stars = [line for line in axis.lines if line.get_marker() == "*" and len(xs(line))]
        assert [list(xs(line)) for line in stars] == [["b"]] * 3
    assert not drawn.axes[3].axison


def xs(line: Line2D) -> np.ndarray[Any, Any]:
    return np.asarray(line.get_xdata(orig=True))
