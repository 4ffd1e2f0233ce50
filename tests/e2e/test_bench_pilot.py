"""The pilot victim, on which attacks and listeners rehearse once per defense for all victims."""

from pathlib import Path
from typing import Any

import pytest
from support.experiment import tiny

from sltoolkit.adversary import training_rehearsal
from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.run import run_bench, stored_plan
from sltoolkit.bench.spec import Spec
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import jobs_of

LISTENER: dict[str, Any] = {
    "name": "pcat", "decoder_lr": 5e-4, "loss": "mse", "width": 4, "refine_steps": 0,
}  # fmt: skip
HIJACKER: dict[str, Any] = {
    "name": "fsha", "critic_lr": 1e-3, "decoder_loss": "mse", "width": 4, "blocks": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def rehearsals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of candidates of each training rehearsal; the rehearsals are cut short."""
    counts: list[int] = []

    def count(name: str) -> None:
        real = getattr(training_rehearsal, name)

        def counted(candidates: Any, *args: Any, **kwargs: Any) -> Any:
            counts.append(len(candidates))
            return real(candidates, *args, **kwargs)

        monkeypatch.setattr(training_rehearsal, name, counted)

    count("rehearse_listening")
    count("rehearse_hijacking")
    monkeypatch.setattr(training_rehearsal, "BATCHES", 2)
    monkeypatch.setattr(training_rehearsal, "VICTIMS", 1)
    return counts


def test_a_pilot_chooses_for_the_reported_victims_and_stays_out_of_the_rows(
    tmp_path: Path,
) -> None:
    attack = {
        "name": "whitebox",
        "steps": 2,
        "forward": "client",
        "lr": 0.2,
        "tv_beta": 1,
        "start": "mean",
    }
    finished = run_bench(tiny(seeds=[0, 1], tune="pilot", attack=[attack]), tmp_path)
    rows, plan = finished.rows, stored_plan(tmp_path)
    assert set(rows["victim_seed"]) == {0, 1}
    store = Store(tmp_path)
    pilots = {plan.victims[c.victim].recipe["defense"]["name"]: store.cell(c.key)["tuned"]
              for c in plan.cells.values() if not c.reported}  # fmt: skip
    assert set(pilots) == {"none", "gaussian_noise"}
    for defense, tuned in pilots.items():
        assert tuned.keys() == {"tv_weight"}
        shown = set(rows.loc[rows.defense == defense, "tuned"])
        assert shown == {f"tv_weight={tuned['tv_weight']} (on the pilot)"}


@pytest.mark.parametrize("table", [LISTENER, HIJACKER], ids=["listener", "hijacker"])
def test_who_takes_part_in_the_training_rehearses_on_the_pilot_alone(
    tmp_path: Path, rehearsals: list[int], table: dict[str, Any]
) -> None:
    spec = tiny(seeds=[0, 1], tune="pilot", attack=[table], defense=[{"name": "none"}])
    finished = run_bench(spec, tmp_path)
    assert finished.failed == 0
    assert rehearsals == [2]
    plan, store = stored_plan(tmp_path), Store(tmp_path)
    (pilot,) = (c for c in plan.cells.values() if not c.reported)
    rate = store.cell(pilot.key)["tuned"]["lr"]
    assert rate in (1e-3, 3e-3)
    assert set(finished.rows["tuned"]) == {f"lr={rate} (on the pilot)"}
    assert set(finished.rows["victim_seed"]) == {0, 1}


def test_what_fails_on_the_pilot_fails_for_all_and_harms_no_other(tmp_path: Path) -> None:
    spec = tiny(
        tune="pilot", attack=[LISTENER, {"name": "norm"}], defense=[{"name": "none"}],
        data={"name": "digits", "train": 120, "holdout": 60, "aux": 5},
    )  # fmt: skip
    rows = run_bench(spec, tmp_path).rows
    assert set(rows.loc[rows.attack == "norm", "status"]) == {"ok"}
    failed = rows[rows.attack == "pcat"]
    assert set(failed["status"]) == {"failed"}
    assert set(failed["victim_seed"]) == {0, 1}
    assert failed["reason"].str.contains("its rehearsal on the pilot victim failed: SpecErr").all()
    assert failed["reason"].str.contains("give values to the attack's open parameters").all()


def test_the_pilot_comes_first_and_cells_that_take_over_its_choice_wait_for_it(
    tmp_path: Path,
) -> None:
    attacks = [{"name": "norm"}, LISTENER, HIJACKER, {"name": "whitebox"}]
    plan = plan_of(Spec.model_validate(tiny(tune="pilot", attack=attacks)))
    jobs = jobs_of(plan, Store(tmp_path))
    place = {job.id: i for i, job in enumerate(jobs)}
    assert len(place) == len(jobs)
    assert all(place[before] < place[job.id] for job in jobs for before in job.after)
    makers = {key: job for job in jobs for key in job.cells}
    waiting = [c for c in plan.cells.values() if c.pilot is not None]
    assert {c.attack["name"] for c in waiting} == {"pcat", "fsha", "whitebox"}
    for cell in waiting:
        assert cell.pilot is not None
        assert makers[cell.pilot].id in makers[cell.key].after
