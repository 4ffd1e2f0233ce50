"""`sltoolkit costs`, as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner, Result

from sltoolkit.cli.app import app
from sltoolkit.costs import latency, registered_costs, singh, splitfed

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
