"""The published results in `reproductions`: every spec is valid, and reference loops agree."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from support.references import decoder as reference_decoder
from support.references import descent as reference_descent
from support.references import training_attacks as reference_training
from support.references.victims import FOLDER, Found, agreement

from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.recipes import typed_recipe
from sltoolkit.bench.reproduction import Expectation, Scale, load_reproduction, results_page
from sltoolkit.bench.spec import load_spec
from sltoolkit.metrics import METRICS
from sltoolkit.rows.build import recipe_columns

pytestmark = pytest.mark.golden

SPECS = sorted(path.stem for path in FOLDER.glob("*.toml"))
BOTH = pytest.mark.parametrize("scale", ["small", "paper"])
EACH = pytest.mark.parametrize("name", SPECS)

REFERENCES: dict[str, Callable[[], Found]] = {
    "fsha": reference_training.fsha,
    "fsha_property": reference_training.fsha_property,
    "he_decoder": lambda: reference_decoder.decoder(
        "he_decoder", 15, {"relu2": "behind ReLU2", "pool2": "behind its pooling"}
    ),
    "he_mnist": lambda: reference_descent.whitebox("he_mnist"),
    "he_mnist_decoder": lambda: reference_decoder.decoder(
        "he_mnist_decoder", 10, {"relu2": "inverse network, ReLU2"}
    ),
    "he_shadow": reference_descent.shadow,
    "he_whitebox": lambda: reference_descent.whitebox("he_whitebox"),
    "pcat": reference_training.pcat,
    "sdar": lambda: reference_training.sdar("sdar"),
    "sdar_u_shaped": lambda: reference_training.sdar("sdar_u_shaped"),
    "unsplit": reference_descent.unsplit,
}
"""Where the expected values of the small scales come from."""


def about(expected: Expectation, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The planned cells that an expectation is about."""

    def fits(cell: dict[str, Any]) -> bool:
        return all(str(cell.get(k)) == str(v) for k, v in expected.where.items())

    return [cell for cell in cells if fits(cell)]


@EACH
@BOTH
def test_every_expectation_is_about_a_planned_cell(
    name: str, scale: Scale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("celeba.npz").touch()  # a file of the user's own
    reproduction = load_reproduction(FOLDER / f"{name}.toml", scale)
    plan = plan_of(load_spec(reproduction.experiment))
    cells = []
    for cell in plan.cells.values():
        victim = plan.victims[cell.victim]
        parameters = {f"attack.{k}": v for k, v in cell.attack.items()}
        told = {"attack": cell.attack["name"], "swept": victim.swept}
        cells.append({**recipe_columns(typed_recipe(victim.recipe)), **told, **parameters})
    for expected in reproduction.expect:
        found = about(expected, cells)
        assert {c["victim_seed"] for c in found} == set(reproduction.experiment["seeds"])
        assert expected.metric in METRICS or expected.metric.startswith("diagnostics.")
        assert expected.tolerance > 0


def test_the_page_of_results_is_generated() -> None:
    assert (FOLDER / "RESULTS.md").read_text() == results_page(FOLDER)


def test_what_was_recorded_is_what_is_expected_today() -> None:
    for path in (FOLDER / "results").iterdir():
        kept = json.loads(path.read_text())
        name, _, scale = path.stem.rpartition("-")
        expected = load_reproduction(FOLDER / f"{name}.toml", scale).expect  # type: ignore[arg-type]
        assert [
            (f["what"], f["metric"], f["expected"], f["tolerance"]) for f in kept["findings"]
        ] == [(e.what, e.metric, e.value, e.tolerance) for e in expected]


@pytest.mark.slow
@EACH
def test_the_reference_loop_gives_what_the_small_scale_expects(
    name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLTOOLKIT_DATA", str(shared_data))
    found = REFERENCES[name]()
    expected = load_reproduction(FOLDER / f"{name}.toml", "small").expect
    assert {(e.what, e.metric) for e in expected} == set(found)
    for e in expected:
        numbers = found[e.what, e.metric]
        assert mean(numbers) == pytest.approx(e.value, abs=e.tolerance / 2), e
        assert e.tolerance <= agreement(numbers) * 1.05, e
