"""The bench from spec to files: resumed, retried, shared, in this process and in others."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.experiment import comparable, majority_share, same_tensors, tiny, toml
from typer.testing import CliRunner

from sltoolkit.bench import engine as engines
from sltoolkit.bench import jobs
from sltoolkit.bench.plan import Plan
from sltoolkit.bench.run import Finished, Tick, run_bench, write_report
from sltoolkit.bench.store import Store
from sltoolkit.bench.todo import Job
from sltoolkit.cli.app import app
from sltoolkit.errors import StoreError
from sltoolkit.models import build
from sltoolkit.streams import Stream

FILES = ("table.csv", "results.csv", "report.html", "tradeoff.png", "reconstructions.png")


def forbidden(*_: Any, **__: Any) -> None:
    pytest.fail("nothing was to be trained or attacked")


def copied(finished: Finished, folder: Path) -> Path:
    shutil.copytree(finished.folder, folder / "copy")
    return folder / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def stamps(folder: Path) -> dict[str, int]:
    kept = [p for part in ("cells", "images", "victims") for p in (folder / part).iterdir()]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in kept}


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the jobs that are done in this process from now on."""
    done: list[str] = []

    def execute(job: Job, plan: Plan, store: Store) -> None:
        done.append(job.id)
        jobs.execute(job, plan, store)

    monkeypatch.setattr(engines, "execute", execute)
    return done


def test_an_experiment_gives_every_row_and_every_file(reference: Finished) -> None:
    rows = reference.rows
    assert reference.failed == 0
    assert set(rows["status"]) == {"ok"}
    cells = rows[["defense", "attack", "victim_seed"]].drop_duplicates()
    assert len(cells) == 2 * 2 * 2
    assert set(rows["experiment"]) == {"tiny"}
    assert set(rows["chance"]) == {majority_share()}
    assert rows.groupby("cell").split.nunique().eq(1).all()
    for name in FILES:
        assert (reference.folder / name).stat().st_size > 0
    table = pd.read_csv(reference.folder / "table.csv")
    assert list(table["defense"]) == ["none", "gaussian_noise"]
    assert not table["reconstruction_incomplete"].any()


def test_a_second_run_does_nothing_and_writes_the_same(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(reference, tmp_path)
    before, when = contents(folder), stamps(folder)
    monkeypatch.setattr(engines, "execute", forbidden)
    ticks: list[Tick] = []
    again = run_bench(tiny(), folder, progress=ticks.append)
    assert ticks == []
    assert contents(folder) == before
    assert stamps(folder) == when
    assert comparable(again.rows) == comparable(reference.rows)


def test_only_what_is_missing_is_done_again(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(reference, tmp_path)
    when = stamps(folder)
    gone = next((folder / "cells").iterdir())
    gone.unlink()
    done = watched(monkeypatch)
    again = run_bench(tiny(), folder)
    assert done == [f"cell:{gone.stem}"]
    changed = {k for k, v in stamps(folder).items() if when[k] != v}
    assert changed == {f"cells/{gone.stem}.json", f"images/{gone.stem}.safetensors"}
    assert comparable(again.rows) == comparable(reference.rows)
    assert same_tensors(folder, reference.folder)


def test_a_larger_experiment_takes_over_what_is_there(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ticks, done = copied(reference, tmp_path), list[Tick](), watched(monkeypatch)
    more = run_bench(tiny(name="more", seeds=[0, 1, 2]), folder, progress=ticks.append)
    assert sum(job.startswith("run:") for job in done) == 2
    assert len(done) == 2 + 4
    assert set(more.rows["experiment"]) == {"more"}
    assert [t.total for t in ticks] == [6] * 6
    assert [t.done for t in ticks] == [1, 2, 3, 4, 5, 6]
    assert ticks[-1].seconds_left == 0


def test_a_report_is_rebuilt_from_the_store_alone(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(reference, tmp_path)
    before = contents(folder)
    for name in FILES:
        (folder / name).unlink()
    monkeypatch.setattr("sltoolkit.api.train", forbidden)
    monkeypatch.setattr("sltoolkit.data.load", forbidden)
    monkeypatch.setattr("sltoolkit.bench.keys._environment", lambda: ("a later version",))
    assert write_report(folder).failed == 0
    assert contents(folder) == before


def test_another_accuracy_budget_needs_no_training(
    reference: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(reference, tmp_path)
    monkeypatch.setattr("sltoolkit.api.train", forbidden)
    assert write_report(folder).accuracy_budget == 0.03
    assert write_report(folder, accuracy_budget=0.5).accuracy_budget == 0.5
    assert set(pd.read_csv(folder / "table.csv")["accuracy_budget"]) == {0.5}
    monkeypatch.setattr(engines, "execute", forbidden)
    assert run_bench(tiny(accuracy_budget=0.2), folder).accuracy_budget == 0.2
    assert set(pd.read_csv(folder / "table.csv")["accuracy_budget"]) == {0.2}


def test_an_unfinished_experiment_is_not_reported(reference: Finished, tmp_path: Path) -> None:
    folder = copied(reference, tmp_path)
    next((folder / "cells").iterdir()).unlink()
    with pytest.raises(StoreError, match="1 of 8 cells are not there yet: run the same"):
        write_report(folder)
    with pytest.raises(StoreError, match="holds no experiment"):
        write_report(tmp_path / "nothing")
    (folder / "plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan\.json can't be read"):
        write_report(folder)


def test_what_is_swept_is_never_averaged(tmp_path: Path) -> None:
    spec = tiny(attack=tiny()["attack"][1:], defense=[{"name": "none"}],
                sweep={"training.lr": [1e-9, 0.05]})  # fmt: skip
    rows = run_bench(spec, tmp_path).rows
    table = pd.read_csv(tmp_path / "table.csv").set_index("swept")
    assert list(table.index) == ["training.lr=1e-09", "training.lr=0.05"]
    for swept, accuracy in table["accuracy"].items():
        own = rows[rows.swept == swept].groupby("victim_seed")["utility"].first()
        assert accuracy == pytest.approx(own.mean())
    page = (tmp_path / "report.html").read_text()
    assert "training.lr=1e-09" in page


def test_pictures_show_one_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, torch.Tensor]] = []

    def caught(folder: Path, rows: pd.DataFrame, images: Any, **_: Any) -> None:
        shown.append(dict(images))

    monkeypatch.setattr("sltoolkit.bench.run.write_all", caught)
    spec = tiny(
        seeds=[0],
        attack=tiny()["attack"][:1],
        sweep={"model.cut": ["relu2", "relu1"], "targets.count": [2, 3]},
    )
    finished = run_bench(spec, tmp_path)
    first = finished.rows[finished.rows.attack == "whitebox"].iloc[0]
    (images,) = shown
    assert next(iter(images)) == "original"
    assert len(images) == 1 + 2
    assert {len(batch) for batch in images.values()} == {2}
    stored = load_file(tmp_path / "images" / f"{first.cell}.safetensors")
    assert first.cut == "relu2"
    assert torch.equal(images["undefended\nwhitebox"], stored["images"])


def test_a_dry_run_trains_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sltoolkit.api.train", forbidden)
    path = tmp_path / "spec.toml"
    path.write_text(toml(tiny()))
    done = CliRunner().invoke(app, ["bench", str(path), "--out", str(tmp_path / "o"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "attacks to run: 8 of 8" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["spec.toml"]


def test_a_trained_victim_is_attacked_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stream(5).scope():
        whole = build("mlp", shape=(1, 8, 8), classes=10, hidden=[24, 16])
    weights = tmp_path / "w.safetensors"
    save_file(whole.state_dict(), weights)
    monkeypatch.setattr("sltoolkit.api.train", forbidden)
    spec = tiny(seeds=[0], checkpoint=str(weights), protocol={"name": "vanilla"},
                attack=[tiny()["attack"][0]])  # fmt: skip
    finished = run_bench(spec, tmp_path / "out")
    assert finished.failed == 0
    for path in (tmp_path / "out" / "victims").iterdir():
        stored = load_file(path)
        found = {**{f"client0.{k}": v for k, v in whole[:3].state_dict().items()},
                 **{f"server.{k}": v for k, v in whole[3:].state_dict().items()}}  # fmt: skip
        assert all(torch.equal(stored[k], v) for k, v in found.items())
    assert set(finished.rows["model"]) == {"mlp(hidden=[24, 16])"}
