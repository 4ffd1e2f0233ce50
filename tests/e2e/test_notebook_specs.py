"""The experiments beside the notebooks are valid; they take too long to run in a test."""

from pathlib import Path

import pytest

from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.spec import load_spec

SPECS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.toml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_cell_has_five_victims(path: Path) -> None:
    spec = load_spec(path)
    plan = plan_of(spec)
    assert len(spec.seeds) >= 5
    assert {plan.victims[cell.victim].recipe["seed"] for cell in plan.cells.values()} >= set(
        spec.seeds
    )
    assert "SLTOOLKIT_DATA=... sltoolkit bench notebooks/" + path.name in path.read_text()
