"""The notebooks run without warnings, and their committed outputs are small and clean.

To renew the outputs: `jupyter execute --inplace notebooks/*.ipynb`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
formats: Any = nbformat  # its functions are untyped
TINY = {
    "seeds": [0, 1],
    "tune": "each",
    "data": {"name": "photos", "train": 80, "holdout": 20, "aux": 40},
    "training": {"epochs": 1},
    "targets": {"count": 2, "labels": 8},
    "protocol": [
        {"name": "vanilla", "clients": 2},
        {"name": "u_shaped", "cut": ["pool1", "fc2"]},
        {"name": "fedavg", "clients": 2},
        {"name": "collaborative_inference"},
    ],
    "attack": [{"name": "decoder", "steps": 4, "width": 4, "budget": 0}, {"name": "direction"}],
}
SMALLER: dict[str, dict[str, str]] = {
    "00_quickstart": {
        "sl.Training(epochs=8,": "sl.Training(epochs=2,",
        "for _ in range(8):": "for _ in range(2):",
        "sl.Decoder()": "sl.Decoder(steps=4, width=4, budget=0)",
        "steps=150": "steps=2, tv_weight=0.0, start='mean'",
    },
    "01_defense_tradeoff": {
        "train=800, holdout=240, aux=300": "train=200, holdout=60, aux=60",
        "sl.Training(epochs=6,": "sl.Training(epochs=1,",
        "seeds = (0, 1, 2)": "seeds = (0, 1)",
        "sl.Decoder(steps=300, width=8, batch_size=32)": "sl.Decoder(steps=4, width=4, budget=0)",
        "sl.WhiteBox(steps=40)": "sl.WhiteBox(steps=2, tv_weight=0.0, start='mean')",
        "    sl.GaussianNoise(std=2.0),\n": "",
    },
    "02_protocols": {
        'Path("protocols.toml").read_text())': (
            f"Path({str(FOLDER / 'protocols.toml')!r}).read_text()) | {TINY!r}"
        ),
        'folder = Path("../runs/protocols")': "import tempfile; folder = Path(tempfile.mkdtemp())",
        "workers=2": "workers=1",
        "seeds = (0, 1, 2)": "seeds = (0,)",
        "training = sl.Training(epochs=5)": "training = sl.Training(epochs=1)",
        "sl.Decoder(steps=300)": "sl.Decoder(steps=4, width=4, budget=0)",
    },
    "03_reconstruction": {
        "train=800, holdout=240, aux=300": "train=60, holdout=20, aux=24",
        "sl.Training(epochs=6,": "sl.Training(epochs=1,",
        "sl.Targets(count=16)": "sl.Targets(count=4)",
        "sl.Shadow(epochs=5, least_steps=300, inversion=sl.WhiteBox(steps=150))": (
            "sl.Shadow.smoke()"
        ),  # before the white box that it holds
        "sl.WhiteBox(steps=150)": "sl.WhiteBox(steps=2, tv_weight=0.0, start='mean')",
        "sl.Decoder()": "sl.Decoder(steps=4, width=4, budget=0)",
        "sl.Regression()": "sl.Regression(draws=2, reach=0)",
        "sl.UnSplit(rounds=10, input_steps=20, client_steps=20, lr=0.01)": "sl.UnSplit.smoke()",
        "train=800, holdout=200, aux=400": "train=60, holdout=20, aux=24",
        "sl.SDAR(lr=2e-3, decoder_lr=2e-3)": "sl.SDAR.smoke()",
        "sl.PCAT(lr=2e-3, decoder_lr=2e-3, refine_steps=0)": "sl.PCAT.smoke()",
        "sl.Training(epochs=40)": "sl.Training(epochs=1)",
        "sl.Training(epochs=20, batch_size=32)": "sl.Training(epochs=1, batch_size=32)",
        "sl.FSHA(width=16, blocks=1, lr=1e-3, critic_lr=3e-3)": "sl.FSHA.smoke()",
        "sl.DLG()": "sl.DLG.smoke()",
    },
}
"""Replacements that make a notebook quick, and change nothing else: old text -> new text."""

KILOBYTES = 400


def notebook(name: str) -> Any:
    """A notebook as committed."""
    return formats.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(nb: Any) -> list[Any]:
    """The notebook's code cells."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def outputs(nb: Any) -> list[Any]:
    """The outputs of the notebook's cells."""
    return [output for cell in code_cells(nb) for output in cell.outputs]


def figures(nb: Any) -> int:
    """How many pictures the notebook shows."""
    return sum("image/png" in output.get("data", {}) for output in outputs(nb))


def said(nb: Any) -> str:
    """The text of all outputs, without pictures."""
    texts = [str(output.get("text", "")) for output in outputs(nb)]
    for output in outputs(nb):
        texts += [str(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(texts)


def make_smaller(nb: Any, replacements: dict[str, str]) -> None:
    """Replace texts in the sources; each of them must occur."""
    for old, new in replacements.items():
        found = [cell for cell in code_cells(nb) if old in cell.source]
        assert found, f"the notebook no longer says {old!r}"
        for cell in found:
            cell.source = cell.source.replace(old, new)


def execute(nb: Any, folder: Path) -> None:
    """Run all cells in a kernel of this very interpreter; an error in a cell is raised."""
    specs = KernelSpecManager(kernel_dirs=[])  # an installed kernel may run another Python
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(nb, km=kernel, timeout=300)
    client.execute(env=environment, cwd=str(folder), cleanup_kc=True)


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SMALLER)


@pytest.mark.parametrize("name", SMALLER)
def test_a_notebook_runs_without_errors_or_warnings(name: str, tmp_path: Path) -> None:
    nb = notebook(name)
    shown = figures(nb)
    make_smaller(nb, SMALLER[name])
    execute(nb, tmp_path)
    assert [output.text for output in outputs(nb) if output.get("name") == "stderr"] == []
    assert "Warning" not in said(nb)
    assert figures(nb) == shown > 0
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


@pytest.mark.parametrize("name", SMALLER)
def test_the_committed_outputs_are_complete_small_and_clean(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    nb = notebook(name)
    assert path.stat().st_size < KILOBYTES * 1000
    order = [cell.execution_count for cell in code_cells(nb)]
    assert order == list(range(1, len(order) + 1))  # run once, from top to bottom
    kinds = {output.output_type for output in outputs(nb)}
    assert kinds <= {"execute_result", "display_data"}  # no errors, nothing printed or warned
    for private in (str(Path.home()), "/tmp/", "site-packages", "Warning"):
        assert private not in said(nb)


def test_a_warning_in_a_cell_is_caught_and_the_kernel_is_this_interpreter(tmp_path: Path) -> None:
    cell = formats.v4.new_code_cell("import sys, warnings\nwarnings.warn(sys.executable)")
    nb = formats.v4.new_notebook(cells=[cell])
    execute(nb, tmp_path)
    (output,) = outputs(nb)
    assert output.name == "stderr"
    assert "UserWarning" in output.text
    assert sys.executable in output.text


def test_an_error_in_a_cell_is_raised(tmp_path: Path) -> None:
    cell = formats.v4.new_code_cell("1 / 0")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(formats.v4.new_notebook(cells=[cell]), tmp_path)
