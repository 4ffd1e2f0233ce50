"""The command line, as a user meets it: output, exit codes, and no traceback for a mistake."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.app import app
from sltoolkit.cli.show import _parameter_text
from sltoolkit.data.registry import DATASETS
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import StoreError
from sltoolkit.metrics import METRICS
from sltoolkit.models import MODELS
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.rows.names import describe_parameters

REGISTRIES: dict[str, Any] = {
    "attacks": ATTACKS, "defenses": DEFENSES, "protocols": PROTOCOLS, "models": MODELS,
    "data": DATASETS, "metrics": METRICS,
}  # fmt: skip

SPEC = """
name = "tiny"
seeds = [0]
demonstration = true
[data]
name = "digits"
train = 100
holdout = 50
aux = 50
[model]
name = "mlp"
cut = "relu1"
[training]
epochs = 1
[targets]
count = 2
[[attack]]
name = "whitebox"
grants = ["client_weights"]
tv_weight = 0.01
forward = "client"
steps = 2
"""


@dataclass(frozen=True, kw_only=True)
class Inner:
    lr: Annotated[float | None, Parameter("learning rate", above=0, grid=(0.1, 0.2))] = None
    steps: Annotated[int, Parameter("of the descent", least=1)] = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner(steps=7)


FAILING = f"""{SPEC}
[[attack]]
name = "norm"
[protocol]
name = "vanilla"
labels_at = "server"
"""
"""Ten classes without hints, so that the norm attack can't tell them apart."""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def spec_file(folder: Path, text: str = SPEC) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def mistake(result: Result) -> str:
    """The error of a user's mistake: exactly one sentence on stderr, and exit code 2."""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    return result.stderr


def test_help_lists_the_commands_without_loading_torch() -> None:
    code = (
        "import sys; from sltoolkit.cli.app import app\n"
        "try: app(['--help'])\n"
        "finally: assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), 'slow'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "bench", "report", "list", "describe", "cuts", "data"):
        assert command in done.stdout


@pytest.mark.parametrize("name", ["demo", "bench", "report", "list", "describe", "cuts", "data"])
def test_every_command_has_an_example_in_its_help(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"Example: sltoolkit {name}" in result.output


@pytest.mark.parametrize("kind", REGISTRIES)
def test_list_names_every_plugin_for_people_and_machines(kind: str) -> None:
    shown, found = call("list", kind), json.loads(call("list", kind, "--json").stdout)
    assert shown.exit_code == 0
    assert [entry["name"] for entry in found] == list(REGISTRIES[kind])
    for name in REGISTRIES[kind]:
        assert name in shown.stdout
    assert all(entry["description"] for entry in found)


def test_list_of_attacks_states_what_each_needs() -> None:
    found = {x["name"]: x for x in json.loads(call("list", "attacks", "--json").stdout)}
    assert found["whitebox"]["needs"] == ["client_weights", "smashed"]
    assert "aux" in found["whitebox"]["can_use"]
    assert found["norm"]["family"] == "labels"


@pytest.mark.parametrize("name", [n for registry in REGISTRIES.values() for n in registry])
def test_everything_registered_can_be_described(name: str) -> None:
    record = json.loads(call("describe", name, "--json").stdout)
    assert record["name"] == name
    assert record["description"]


def test_description_shows_parameters_citation_grants_and_seats() -> None:
    attack = call("describe", "whitebox").stdout
    assert "He, Zhang" in attack
    assert "box: whether inputs are kept in [0, 1]" in attack
    assert "    true or false; default True" in attack
    assert "client_weights: a copy of the client network" in attack
    protocol = json.loads(call("describe", "vanilla", "--json").stdout)
    assert "smashed" in protocol["seats"]["server"]
    assert protocol["parameters"]["clients"]["default"] == 1


def test_description_of_a_parameter_says_type_range_default_and_meaning() -> None:
    parameter = json.loads(call("describe", "dp_activations", "--json").stdout)["parameters"]
    assert parameter["delta"] == {
        "expected": "a number above 0 and below 1", "default": 1e-5,
        "meaning": "privacy parameter of one release", "grid": [],
    }  # fmt: skip
    said = call("describe", "lenet").stdout
    assert "padding: zero padding of both" in said
    assert "    a whole number of at least 0; default 0" in said


def test_description_of_a_parameter_that_holds_a_plugin_and_is_rehearsed() -> None:
    parameters = describe_parameters(Outer)
    assert parameters["inner.lr"] == {
        "expected": "a number above 0, or None", "default": None, "meaning": "learning rate",
        "grid": [0.1, 0.2],
    }  # fmt: skip
    assert parameters["inner.steps"]["default"] == 7
    assert _parameter_text(parameters["inner.lr"]) == (
        "learning rate\n    a number above 0, or None; default None; rehearsed among 0.1, 0.2"
    )


def test_unknown_names_are_refused_with_the_nearest() -> None:
    assert "did you mean 'whitebox'" in mistake(call("describe", "white_box"))
    assert "did you mean 'lenet'" in mistake(call("cuts", "lenett", "--data", "digits"))
    assert "data set" in mistake(call("data", "minst"))
    assert call("list", "nonsense").exit_code == 2


def test_cuts_gives_the_facts_of_every_cut() -> None:
    found = json.loads(call("cuts", "mlp", "--data", "digits", "--json").stdout)
    assert found[0].keys() >= {"cut", "smashed", "numbers", "parameters"}
    shown = call("cuts", "mlp", "--data", "digits")
    assert shown.exit_code == 0
    for entry in found:
        assert entry["cut"] in shown.stdout


def test_data_says_where_files_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLTOOLKIT_DATA", str(tmp_path))
    everything, one = call("data"), call("data", "mnist")
    assert "SLTOOLKIT_DATA" in everything.stdout
    assert str(tmp_path) in one.stdout.replace("\n", "")
    assert json.loads(call("data", "digits", "--json").stdout)["files"] == "none: embedded"


def test_bench_writes_results_and_report_rebuilds_them(tmp_path: Path) -> None:
    spec, out = spec_file(tmp_path), tmp_path / "out"
    dry = call("bench", spec, "--out", out, "--dry-run")
    assert dry.exit_code == 0
    assert "victims to train: 1 of 1" in dry.stdout
    assert not out.exists()
    done = call("bench", spec, "--out", out)
    assert done.exit_code == 0, done.output
    assert "Cut after relu1, undefended: the whitebox attack" in " ".join(done.stdout.split())
    page = (out / "report.html").read_text(encoding="utf-8")
    (out / "report.html").unlink()
    assert call("report", out).exit_code == 0
    assert (out / "report.html").read_text(encoding="utf-8") == page
    assert call("report", out, "--accuracy-budget", "0.5").exit_code == 0
    assert "0.5" in set(pd.read_csv(out / "table.csv", dtype=str)["accuracy_budget"])
    assert "from 0 to 1" in mistake(call("report", out, "--accuracy-budget", "3"))
    assert "victims to train: 0 of 1" in call("bench", spec, "--out", out, "--dry-run").stdout


def test_failed_cells_give_exit_code_1_and_their_reason(tmp_path: Path) -> None:
    done = call("bench", spec_file(tmp_path, FAILING), "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "1 cell failed" in done.stderr
    assert "failed: norm: ThreatModelError" in done.stdout


def test_mistakes_in_a_spec_are_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no spec file" in mistake(call("bench", tmp_path / "none.toml", "--out", out))
    broken = spec_file(tmp_path, "name = ")
    assert "not valid TOML" in mistake(call("bench", broken, "--out", out))
    unknown = spec_file(tmp_path, "epoch = 3\n" + SPEC)
    assert "'epoch'" in mistake(call("bench", unknown, "--out", out))
    ungranted = spec_file(tmp_path, f'grants = []\n{SPEC}\n[[attack]]\nname = "decoder"\n')
    assert "Decoder needs aux" in mistake(call("bench", ungranted, "--out", out, "--dry-run"))
    assert call("bench", spec_file(tmp_path), "--out", out, "--workers", "0").exit_code == 2
    assert not out.exists()


def test_a_folder_without_an_experiment_is_a_users_mistake(tmp_path: Path) -> None:
    assert "holds no experiment" in mistake(call("report", tmp_path))
    assert "holds no experiment" in mistake(call("report", tmp_path / "absent"))


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [(StoreError("disk full"), 1, "error: disk full"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_what_goes_wrong_on_the_way_is_a_sentence(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr("sltoolkit.bench.run.run_bench", broken)
    result = call("bench", spec_file(tmp_path), "--out", tmp_path / "out")
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1].startswith(said)
    assert "Traceback" not in result.output
