"""What is published is registered, and its canaries tell when it is stale: `scripts/results`."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published import records
from published.__main__ import current, judged, main, record, report
from published.canaries import canaries
from published.drawings import KINDS, drawn
from published.measure import Bench, CanaryError, Measured
from published.records import FOLDER, Record, differences, path_of
from published.register import ROOT, Published, drop_measured, register
from published.samples import splits
from published.shrunk import attack_like, defense_like, targets_like
from support.pages import DOCS

from sltoolkit.adversary import training_rehearsal
from sltoolkit.bench.build import attack_from
from sltoolkit.bench.spec import load_spec
from sltoolkit.defenses import GaussianNoise
from sltoolkit.errors import SpecError
from sltoolkit.report import protocols

pytestmark = pytest.mark.full_length  # canaries know the baselines' lengths

TABLES = register()
GUARDED = {name: table for name, table in TABLES.items() if not table.unguarded}
EACH = pytest.mark.parametrize("name", GUARDED)

TINY = """
seeds = [0, 1]
data.name = "mnist"
model = { name = "lenet", cut = "relu1" }
defense = [{ name = "none" }, { name = "gaussian_noise", std = 0.5 }]
attack = [{ name = "regression" }]
"""


def test_every_figure_and_page_of_results_is_registered() -> None:
    shown = {file for table in TABLES.values() for file in table.files}
    published = [
        *DOCS.glob("figures/*"), *DOCS.glob("results/*.md"), ROOT / "README.md",
        *ROOT.glob("reproductions/results/*.json"), DOCS / "performance.md",
    ]  # fmt: skip
    assert {path.relative_to(ROOT).as_posix() for path in published} - shown == set()
    assert [file for file in shown if not (ROOT / file).is_file()] == []
    figures = {file for table in GUARDED.values() for file in table.drawn}
    guarded = {file for table in GUARDED.values() for file in table.files}
    drawn = {path.relative_to(ROOT).as_posix() for path in DOCS.glob("figures/*")}
    assert figures == drawn & guarded


def test_every_table_has_canaries_or_says_what_measured_it() -> None:
    kept = {path.stem for path in FOLDER.glob("*.json")}
    assert kept <= GUARDED.keys()
    assert [n for n, t in GUARDED.items() if bool(t.measured) == (n in kept)] == []


@EACH
def test_there_is_a_canary_of_every_plugin(name: str) -> None:
    experiments = GUARDED[name].experiments()
    found = {tuple(c.name.split()[:2]) for c in canaries(experiments)}
    wanted: set[tuple[str, ...]] = set()
    for spec in map(load_spec, experiments):
        wanted |= {("attack", table["name"]) for table in spec.attack}
        wanted |= {("protocol", table["name"]) for table in spec.protocols}
        wanted |= {("defense", t["name"]) for t in spec.defense if t["name"] != "none"}
    assert found == wanted


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_recorded_is_about_the_experiment_of_today(path: Path) -> None:
    then, experiments = records.read(path), TABLES[path.stem].experiments()
    assert then.experiments == records.digest_of(experiments)
    figures = {f"figure {Path(file).name}" for file in TABLES[path.stem].drawn}
    names = {c.name for c in canaries(experiments)} | splits(experiments).keys() | figures
    assert then.canaries.keys() == names


@pytest.mark.slow
def test_no_recorded_table_is_stale_and_every_canary_lives() -> None:
    stale: dict[str, list[str]] = {}
    with Bench() as bench:
        for name, table in GUARDED.items():
            now = current(table, bench)
            if path_of(name).exists():
                stale[name] = differences(records.read(path_of(name)), now)
    assert {name: why for name, why in stale.items() if why} == {}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A table with one defense and one cheap attack."""
    spec = tmp_path_factory.mktemp("spec") / "tiny.toml"
    spec.write_text(TINY)
    return Published(name="tiny", files=("page.md",), command="run it", spec=str(spec))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh bench, which has measured nothing yet."""
    with Bench() as bench:
        yield bench


@pytest.fixture(scope="module")
def then(tiny: Published) -> Record:
    """The tiny table's canaries."""
    with Bench() as bench:
        return current(tiny, bench)


def test_a_table_without_canaries_is_stale(
    tiny: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report([replace(tiny, measured="0.1")], tmp_path) == 1
    assert capsys.readouterr().out == "tiny: stale (measured with 0.1)\n  no canary recorded\n"


def test_a_planted_change_is_found_where_it_is(
    tiny: Published, then: Record, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.write(then, path_of("tiny", tmp_path))
    smash = GaussianNoise.smash
    monkeypatch.setattr(GaussianNoise, "smash", lambda *a: smash(*a) * (1 + 1e-6))
    how, why = judged(tiny, bench, tmp_path)
    assert "compared bits of 3 canaries" in how
    assert {line.partition(" {")[0] for line in why} == {"defense gaussian_noise"}


def test_a_table_that_nothing_changes_is_fresh(
    tiny: Published, then: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records.write(then, path_of("tiny", tmp_path))
    assert report([tiny], tmp_path) == 0
    assert capsys.readouterr().out.startswith("tiny: fresh (measured at ")


def changed(then: Record, name: str, **what: Any) -> Record:
    """The record with another result of a canary."""
    return replace(then, canaries={**then.canaries, name: replace(then.canaries[name], **what)})


def elsewhere(then: Record) -> Record:
    """The record as if another machine had made it."""
    return replace(then, environment={**then.environment, "instructions": "NEON"})


def scaled(measured: Measured, factor: float) -> Mapping[str, float]:
    """All values, times a factor."""
    return {k: v * factor for k, v in measured.values.items()}


def test_bits_are_compared_where_the_environment_is_the_same(then: Record) -> None:
    (name,) = (n for n in then.canaries if n.startswith("attack"))
    now = changed(then, name, bits="0" * 16)
    assert differences(then, now) == [f"{name}: its bits differ"]
    assert differences(elsewhere(then), now) == []


def test_elsewhere_values_may_differ_by_rounding_only(then: Record) -> None:
    (name,) = (n for n in then.canaries if n.startswith("defense"))
    was = then.canaries[name]
    near, far = (changed(then, name, values=scaled(was, f)) for f in (1.001, 1.02))
    assert differences(elsewhere(then), near) == []
    assert name in differences(elsewhere(then), far)[0]
    assert differences(then, near) != []


def test_a_changed_default_or_grid_or_length_is_found(
    then: Record,
) -> None:
    (name,) = (n for n in then.canaries if n.startswith("attack"))
    settings = {**then.canaries[name].settings, "attack.draws": 40}
    assert differences(changed(then, name, settings=settings), then) == [
        f"{name}: attack.draws was 40, and is {then.canaries[name].settings['attack.draws']}"
    ]
    more = {**then.canaries[name].settings, "attack.new": 1}  # a new one at its default
    assert differences(then, changed(then, name, settings=more)) == []


def test_the_lengths_of_rehearsals_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    def rehearsed() -> dict[str, Any]:
        found = canaries(GUARDED["arsenal"].experiments())
        return next(c.settings for c in found if c.name.startswith("attack sdar"))

    before = rehearsed()
    monkeypatch.setattr(training_rehearsal, "BATCHES", 7)
    assert (before["rehearsal.BATCHES"], rehearsed()["rehearsal.BATCHES"]) == (150, 7)


def test_the_samples_of_embedded_data_are_a_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = {**load_spec(GUARDED["pcat-small"].experiments()[0]).model_dump(), "sweep": {}}
    drawn_anew = {**experiment, "data": {**experiment["data"], "seed": 1}}
    ((name, was),) = splits([experiment]).items()
    ((_, now),) = splits([drawn_anew]).items()
    assert name == 'data digits {"aux": 100, "holdout": 200, "train": 800}'
    assert (was.bits == now.bits, set(was.values) == set(now.values)) == (False, True)
    assert splits(GUARDED["arsenal"].experiments()) == {}  # MNIST isn't there everywhere


def test_another_text_of_a_figure_is_found(then: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    before = replace(then, canaries={"figure protocols.png": drawn("protocols")})
    monkeypatch.setattr(protocols, "_why_nothing", lambda *_: "no attack applies")
    now = replace(then, canaries={"figure protocols.png": drawn("protocols")})
    assert differences(before, before) == []
    assert differences(elsewhere(before), now)[0] == (
        "figure protocols.png: texts was ['labels are sent', 'not attacked here'], "
        "and is ['no attack applies']"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_figure_says_something(kind: str) -> None:
    assert len(drawn(kind).settings["texts"]) > 1
    assert drawn(kind) == drawn(kind)


def test_a_changed_experiment_is_found(then: Record) -> None:
    (name,) = (n for n in then.canaries if n.startswith("defense"))
    fewer = {n: c for n, c in then.canaries.items() if n != name}
    now = replace(then, experiments="other", canaries=fewer)
    assert differences(then, now) == ["its experiment has changed", f"{name}: is used no longer"]
    assert differences(now, then) == ["its experiment has changed", f"{name}: is new"]


def test_a_record_survives_its_file(then: Record, tmp_path: Path) -> None:
    records.write(then, path_of("tiny", tmp_path))
    assert differences(then, records.read(path_of("tiny", tmp_path))) == []
    assert json.loads(path_of("tiny", tmp_path).read_text())["commit"] == then.commit


def test_only_sizes_shrink() -> None:
    given = {"name": "fsha", "width": 2, "blocks": 6, "lr": 1e-5, "penalty": 500.0}
    assert attack_like(given) == {**given, "blocks": 1, "critic_steps": 1}
    inner = attack_like({"name": "shadow", "inversion": {"steps": 300, "lr": 0.05}})["inversion"]
    assert (inner["steps"], inner["lr"]) == (3, 0.05)
    late = attack_like({"name": "pcat", "late_start": 100})
    assert (late["late_start"], "lr" in late) == (1, False)
    noise = {"name": "gaussian_noise", "std": 0.5}
    assert defense_like({"chain": [noise, {"name": "disco"}]}) == {
        "chain": [noise, {"name": "disco", "width": 4}]
    }
    assert targets_like({"part": "private_train", "count": 6, "batch": 3})["count"] == 12


@EACH
def test_tiny_experiments_keep_the_plugins(name: str) -> None:
    for canary in canaries(GUARDED[name].experiments()):
        spec = load_spec(canary.experiment)
        assert (len(spec.attack), len(spec.defense), len(spec.protocols)) == (1, 1, 1)
        assert canary.name.split()[1] in (
            spec.attack[0]["name"], spec.defense[0]["name"], spec.protocols[0]["name"]
        )  # fmt: skip
        attack_from(spec.attack[0], "attack")


def test_a_canary_that_fails_says_why(bench: Bench) -> None:
    one = canaries(GUARDED["own_samples"].experiments())[0]
    broken = {**one.experiment, "targets": {"count": 10_000}}
    with pytest.raises(CanaryError, match=r"protocol vanilla .* failed: .*10000"):
        bench.result(replace(one, experiment=broken))


def test_an_entry_names_one_source() -> None:
    about: dict[str, Any] = {"name": "x", "files": ("x.md",), "command": "x"}
    with pytest.raises(SpecError, match="exactly one of spec, benchmark and unguarded"):
        Published(**about, spec="x.toml", benchmark="tuned")
    with pytest.raises(SpecError, match="give the files"):
        Published(**about | {"files": ()}, spec="x.toml")


def test_recording_needs_a_name_and_canaries() -> None:
    with pytest.raises(SpecError, match="needs the names"):
        record([])
    assert main(["nonsense"]) == 2


def test_a_recorded_table_no_longer_says_what_measured_it(tmp_path: Path) -> None:
    copy = tmp_path / "published.toml"
    one, other = ('[[table]]\nname = "a"\n', '[[table]]\nname = "b"\n')
    copy.write_text(f'# All\n{one}measured = "0.1"\n\n{other}measured = "0.1"\n')
    drop_measured("b", copy)
    assert copy.read_text() == f'# All\n{one}measured = "0.1"\n\n{other}'


def test_the_command_lists_a_table() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "results", "performance"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("performance: not guarded (times")
