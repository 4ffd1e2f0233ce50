"""Every benchmark runs as its docstring says, from a fresh process, at its smallest size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.rooms import ROOT

FOLDER = ROOT / "benchmarks"
HELPERS = {"command_line", "plain", "plain_attacks", "plain_trainings"}
FAST = ("he_style", "ssim")
SLOW = (
    "calibration", "dlg_batch", "hijack", "listening", "protocol_epochs", "served_run",
    "split_epoch", "strength", "together", "unsplit_batch", "whitebox_batch",
    *(f"tuned {name}" for name in ("decoder", "fsha", "inverting_gradients", "pcat")),
)  # fmt: skip
ON_MNIST = ("he_mnist", "own_targets")


def run(command: str, folder: Path, **environment: str) -> str:
    """The output of a benchmark that is run from another folder, with the package installed.

    The repository itself is not on the path, so that `benchmarks` means what opacus installs.
    """
    name, *arguments = command.split()
    (folder / "installed").mkdir()
    (folder / "installed" / "sltoolkit").symlink_to(ROOT / "sltoolkit")
    env = os.environ | environment | {"PYTHONPATH": str(folder / "installed")}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments, "--small"], cwd=folder, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("command", FAST)
def test_a_fast_one_runs(command: str, tmp_path: Path) -> None:
    assert run(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_a_slow_one_runs(command: str, tmp_path: Path) -> None:
    assert run(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", ON_MNIST)
def test_one_on_mnist_runs(command: str, shared_data: Path, tmp_path: Path) -> None:
    assert run(command, tmp_path, SLTOOLKIT_DATA=str(shared_data))


def test_none_is_left_out() -> None:
    named = {command.split()[0] for command in (*FAST, *SLOW, *ON_MNIST)} | HELPERS
    assert named == {file.stem for file in FOLDER.glob("*.py")}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_the_docstring_says_how_to_run_it(file: Path) -> None:
    if file.stem not in HELPERS:
        assert f"python benchmarks/{file.name} " in file.read_text()
