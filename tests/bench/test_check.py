"""Mistakes in a plan show before any training, with the place in the spec."""

from pathlib import Path
from typing import Any

import pytest
from support.experiment import tiny

from sltoolkit.bench.check import check_victims
from sltoolkit.bench.run import load_plan
from sltoolkit.errors import DataError, SpecError
from sltoolkit.training.run import seat_parties


def checked(**changes: Any) -> None:
    check_victims(load_plan(tiny(**changes))[1])


def test_a_plan_that_fits_passes() -> None:
    checked()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "mlp", "cut": "relu9"}}, "model.cut: .*relu9"),
        ({"model": {"name": "lenet", "cut": "conv1"}}, "model: lenet with padding=0 needs larger"),
        (
            {"model": {"name": "mlp", "cut": "relu1"}, "protocol": {"name": "u_shaped"}},
            "model.cut: u_shaped needs 2 cuts, got 1",
        ),
        ({"defense": [{"name": "nopeek"}], "protocol": {"name": "fedavg"}}, "silently inert"),
        ({"protocol": {"name": "splitfed_v1", "clients": 500}}, "protocol: "),
    ],
)
def test_a_mistake_is_told_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        checked(attack=[{"name": "none"}], **changes)


def test_too_few_samples_for_the_targets_are_refused() -> None:
    with pytest.raises(DataError, match="1000 targets asked for"):
        checked(targets={"count": 1000, "labels": 32})


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere"):
        checked(checkpoint=str(tmp_path / "nowhere.safetensors"))


def test_seeds_make_no_other_kind_of_victim(monkeypatch: pytest.MonkeyPatch) -> None:
    _, plan = load_plan(tiny(seeds=[0, 1, 2, 3], attack=[{"name": "none"}]))
    built: list[Any] = []

    def counting(*parts: Any, **options: Any) -> Any:
        built.append(options["defense"])
        return seat_parties(*parts, **options)

    monkeypatch.setattr("sltoolkit.bench.check.seat_parties", counting)

    check_victims(plan)

    assert len(plan.victims) == 8
    assert len(built) == len(tiny()["defense"])
