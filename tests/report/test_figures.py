"""Figures for papers: what is drawn, from synthetic rows whose numbers are known."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.io import imread
from support.rows import assert_readable
from typer.testing import CliRunner

from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.figures import _grids, write_figures
from sltoolkit.bench.run import run_bench
from sltoolkit.cli.app import app
from sltoolkit.errors import SpecError, StoreError
from sltoolkit.metrics import t_interval
from sltoolkit.report.canvas import COLUMN, PAGE
from sltoolkit.report.curves import curves_figure
from sltoolkit.report.grid import Tiles, grid_figure, ranked
from sltoolkit.report.series import AXES, CROWD, Chart, charts
from sltoolkit.report.styles import ORDER, styles
from sltoolkit.report.written_names import written

SPEC: dict[str, Any] = {
    "name": "figures", "seeds": [0, 1],
    "data": {"name": "digits", "train": 100, "holdout": 40, "aux": 60},
    "model": {"name": "lenet", "padding": 2, "cut": "conv1"},
    "training": {"epochs": 1}, "targets": {"count": 6},
    "grants": ["aux", "release", "client_weights"],
    "attack": [
        {"name": "whitebox", "steps": 4, "tv_weight": 0.0, "lr": 0.1, "forward": "client"},
        {"name": "regression", "reach": 0, "weight": 0.1},
    ],
    "sweep": {"model.cut": ["conv1", "relu2"]},
}  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {
        "cell": "c", "victim_seed": 0, "attacker_seed": 0, "protocol": "vanilla",
        "model": "lenet", "cut": "conv1", "dataset": "photos", "defense": "none",
        "defense_params": "{}", "attack": "decoder", "attack_params": "{}",
        "family": "reconstruction", "metric": "ssim", "value": 0.5, "baseline": 0.1, "gain": 0.4,
        "swept": "", "status": "ok",
    } | changes  # fmt: skip


def only(rows: list[dict[str, Any]], progress: dict[str, Any] | None = None) -> Chart:
    (chart,) = charts(pd.DataFrame(rows), progress or {})
    return chart


def test_a_point_is_the_mean_over_victims_with_its_t_interval() -> None:
    values = {"conv1": (0.9, 0.8, 0.7), "relu2": (0.5, 0.6, 0.4)}
    chart = only([
        row(cut=cut, victim_seed=seed, value=v)
        for cut, each in values.items() for seed, v in enumerate(each)
    ])  # fmt: skip
    method, prior = chart.lines
    assert (chart.axis, chart.metric, method.panel, method.method) == (
        "cut", "ssim", "undefended", "decoder",
    )  # fmt: skip
    assert dict(method.points) == {cut: t_interval(v) for cut, v in values.items()}
    assert [i.value for i in prior.points.values()] == pytest.approx([0.1, 0.1])
    assert chart.places == ["conv1", "relu2"]  # in the order of the spec, not of the alphabet


def test_attacker_seeds_count_as_one_victim() -> None:
    rows = [
        row(cut=cut, attacker_seed=a, value=v)
        for cut in ("a", "b") for a, v in enumerate((0.2, 0.4))
    ]  # fmt: skip
    interval = only(rows).lines[0].points["a"]
    assert interval.value == pytest.approx(0.3)
    assert interval.n == 1


def test_amounts_are_numbers_in_ascending_order_and_other_sweeps_stay_apart() -> None:
    rows = [
        row(swept=f"data.aux={aux}, training.lr={lr}", value=aux / 1000)
        for aux in (400, 50) for lr in (0.1, 0.2)
    ]  # fmt: skip
    found = charts(pd.DataFrame(rows), {})
    assert [c.axis for c in found] == ["data.aux", "data.aux"]
    assert {c.setting.rpartition(", ")[2] for c in found} == {"training.lr=0.1", "training.lr=0.2"}
    assert found[0].places == [50.0, 400.0]
    assert found[0].lines[0].points[400.0].value == 0.4


def test_steps_come_from_what_the_referee_scored_on_the_way() -> None:
    progress = {"c": {"1": {"ssim": 0.2, "mse": 9.0}, "8": {"ssim": 0.45, "mse": 9.0}}}
    chart = only([row()], progress)
    assert chart.axis == "step"
    assert {p: i.value for p, i in chart.lines[0].points.items()} == {1.0: 0.2, 8.0: 0.45}


def test_nothing_that_failed_or_stands_alone_is_drawn() -> None:
    assert charts(pd.DataFrame([row()]), {}) == []
    failed = [row(cut=c, status="failed", metric=None) for c in "ab"]
    assert charts(pd.DataFrame(failed), {}) == []


def test_every_axis_can_be_drawn() -> None:
    swept = {"data.aux": (5, 9), "data.aux_from": ("mnist", "x"), "training.epochs": (1, 2)}
    rows = [row(swept=f"{k}={v}", cell=f"{k}{v}") for k, vs in swept.items() for v in vs]
    rows += [row(cut="b", cell="c"), row(cut="a", cell="d")]
    found = charts(pd.DataFrame(rows), {"d": {"1": {"ssim": 0.1}, "2": {"ssim": 0.2}}})
    assert {c.axis for c in found} == set(AXES)


def test_a_method_keeps_its_look_and_no_two_look_alike() -> None:
    every = styles(ORDER)
    kinds: dict[str, Any] = ATTACKS
    assert {name for name, kind in kinds.items() if kind.family == "reconstruction"} == set(ORDER)
    assert len({(s.color, s.linestyle) for s in every.values()}) == len(ORDER)
    assert len({(s.color, s.marker) for s in every.values()}) == len(ORDER)
    assert styles(["whitebox"])["whitebox"] == every["whitebox"]
    mine = styles(["mine", "yours"])["mine"]  # a plug-in's look depends on its name alone
    assert styles(["a_rival", "mine", "whitebox"])["mine"] == mine
    variants = styles(["decoder(width=4)", "decoder(width=8)"])
    assert len({(s.color, s.linestyle) for s in variants.values()}) == 2
    assert len({s.color for s in variants.values()}) == 1
    crowd = styles([f"{name}{which}" for name in ORDER for which in ("", "(lr=1)")]).values()
    assert len({(s.color, s.marker) for s in crowd}) == 2 * len(ORDER)


def test_one_defense_fills_a_column_and_several_a_page() -> None:
    one = [row(cut=c) for c in "ab"]
    noisy = [row(cut=c, defense="gaussian_noise", defense_params='{"std": 1.0}') for c in "ab"]
    assert curves_figure(only(one)).get_figwidth() == COLUMN
    both = curves_figure(only(one + noisy))
    assert both.get_figwidth() == PAGE
    assert [a.get_title() for a in both.axes] == ["undefended", "gaussian noise (std=1)"]
    assert [t.get_text() for t in both.legends[0].get_texts()] == ["decoder", "prior alone"]


@pytest.mark.parametrize(("count", "shape"), [(3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (7, (2, 4))])
def test_panels_fill_their_rows(count: int, shape: tuple[int, int]) -> None:
    rows = [row(cut=c, defense=f"noise{i}") for c in "ab" for i in range(count)]
    figure = curves_figure(only(rows))
    spec: Any = figure.axes[0].get_gridspec()
    assert spec.get_geometry() == shape
    assert_readable(figure)


def test_the_line_of_a_figure_passes_through_its_points() -> None:
    values = {"a": (0.2, 0.4), "b": (0.7, 0.9)}
    rows = [
        row(cut=c, victim_seed=s, value=v) for c, vs in values.items() for s, v in enumerate(vs)
    ]
    axis = curves_figure(only(rows)).axes[0]
    drawn = torch.as_tensor(axis.lines[0].get_ydata())
    torch.testing.assert_close(drawn, torch.tensor([0.3, 0.8], dtype=torch.float64))
    (band,) = axis.collections
    low = t_interval(values["a"]).low
    edge = torch.as_tensor(band.get_paths()[0].vertices)[:, 1]
    assert float(edge.min()) == pytest.approx(low)


def test_best_median_and_worst_are_ranked_in_the_metrics_direction() -> None:
    scores = torch.tensor([0.3, 0.9, 0.1, 0.5])
    assert ranked([scores], higher_is_better=True) == [1, 3, 2]
    assert ranked([scores], higher_is_better=False) == [2, 0, 1]


def test_targets_are_ranked_by_their_mean_rank_over_attacks() -> None:
    # ranks of the four: 0 1 2 3, 1 0 3 2, 0 2 1 3, so on average 1/3, 1, 2, 8/3
    attacks = [[0.9, 0.8, 0.7, 0.6], [0.3, 0.4, 0.1, 0.2], [0.5, 0.3, 0.4, 0.1]]
    scores = [torch.tensor(each) for each in attacks]
    assert ranked(scores, higher_is_better=True) == [0, 1, 3]


def test_only_targets_with_images_are_chosen_by_their_rank_among_all() -> None:
    # the first three have mean ranks 3.5, 1, 2.5 among all five, and 1.5, 0, 1.5 among themselves
    attacks = [[0.2, 0.3, 0.1, 0.5, 0.4], [0.1, 0.5, 0.4, 0.3, 0.2]]
    scores = [torch.tensor(each) for each in attacks]
    assert ranked(scores, higher_is_better=True, kept=3) == [1, 2, 0]


def test_a_grid_ranks_over_every_defense_and_every_target() -> None:
    class Kept:
        """Three images of five targets; the value of the i-th original is i / 10."""

        def images(self, cell: str) -> dict[str, torch.Tensor]:
            truth = (torch.arange(3.0) / 10).view(3, 1, 1, 1).expand(3, 1, 4, 4)
            scores = {"open": [0.2, 0.3, 0.1, 0.5, 0.4], "noisy": [0.1, 0.5, 0.4, 0.3, 0.2]}
            return {"truth": truth, "images": truth, "score/ssim": torch.tensor(scores[cell])}

    rows = pd.DataFrame([row(cell="open"), row(cell="noisy", defense="gaussian_noise")])
    ((_, figure),) = _grids(rows, cast(Any, Kept()))
    shown = [float(np.asarray(a.images[0].get_array()).mean()) for a in figure.axes[:3]]
    assert shown == pytest.approx([0.1, 0.2, 0.0])  # by the first defense alone: 1, 0, 2


def test_a_crowd_of_attacks_has_a_panel_per_knowledge_the_strongest_first() -> None:
    knows = {"whitebox": "aux+client_weights+smashed", "unsplit": "client_arch+smashed"}
    names = list(ORDER)[:CROWD]
    crowd = [*names, *(n for n in knows if n not in names), "mine"]
    rows = [
        row(cut=c, attack=a, knowledge=knows.get(a, "aux+release+smashed"))
        for c in "ab" for a in crowd
    ]  # fmt: skip
    figure = curves_figure(only(rows))
    legends: list[Any] = [a.get_legend() for a in figure.axes if a.get_visible()]
    assert [legend.get_title().get_text().replace("\n", " ") for legend in legends] == [
        "the client's weights, own samples", "queries, own samples", "the client's architecture",
    ]  # fmt: skip
    first, _, last = [[t.get_text() for t in legend.get_texts()] for legend in legends]
    assert (first, last) == (["white box"], ["UnSplit"])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["prior alone"]
    assert len(figure.axes[0].lines) == 2  # the white box, and the prior alone
    assert_readable(figure)
    few = [r for r in rows if r["attack"] in crowd[:CROWD]]
    assert len(curves_figure(only(few)).axes) == 1


def test_places_without_order_are_not_joined() -> None:
    rows = [
        row(swept=f"data.aux_from={name}", victim_seed=s, value=v)
        for name, vs in {"mnist": (0.8, 0.9), "fashion": (0.5, 0.7)}.items()
        for s, v in enumerate(vs)
    ]  # fmt: skip
    figure = curves_figure(only(rows))
    axis = figure.axes[0]
    method, prior = figure.legends[0].get_lines()
    assert (method.get_linestyle(), prior.get_linestyle()) == ("None", "-.")
    shown: list[list[float]] = [list(map(float, cast(Any, x.get_ydata()))) for x in axis.lines]
    assert shown == [pytest.approx([0.85]), pytest.approx([0.6])]


def test_figures_write_names_as_papers_do() -> None:
    assert written("sdar(lr=1)") == "SDAR (lr=1)"
    assert written("deep_image_prior") == "deep image prior"
    assert written("gaussian_noise(std=1)+nopeek") == "gaussian noise (std=1)+NoPeek"
    assert written("dp_activations(epsilon=2)") == "DP activations (ε=2)"


def test_titles_name_what_was_varied_besides_in_words() -> None:
    rows = [
        row(swept=f"data.aux={n}, data.aux_from=fashion_mnist", dataset="mnist") for n in (5, 9)
    ]  # fmt: skip
    title = curves_figure(only(rows)).get_suptitle().replace("\n", " ")
    assert title == "MNIST, LeNet, cut conv1, vanilla, own samples from Fashion-MNIST"


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 32)])
def test_a_grid_shows_the_chosen_targets_and_their_scores(shape: tuple[int, ...]) -> None:
    truth = torch.rand(5, *shape)
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.55])
    tiles = [
        Tiles(defense="undefended", attack="decoder", images=truth, scores=scores),
        Tiles(defense="undefended", attack="whitebox", images=truth, scores=scores),
        Tiles(defense="noise", attack="decoder", images=truth, scores=scores),
    ]
    figure = grid_figure(truth, tiles, [4, 2, 0], "ssim")
    grid = [figure.axes[i : i + 6] for i in (0, 6, 12)]
    assert [a.get_xlabel() for a in grid[1]] == ["0.55", "0.30", "0.10"] * 2
    assert [a.get_xlabel() for a in grid[2]] == ["0.55", "0.30", "0.10", "", "", ""]
    assert [a.get_title() for a in grid[0]] == ["best", "median", "worst"] * 2
    assert any("5 targets, by mean rank over all" in t.get_text() for t in figure.texts)
    assert_readable(figure)
    assert [r[0].get_ylabel() for r in grid] == ["original", "decoder", "white box"]
    if len(shape) == 3:
        shown = torch.as_tensor(grid[1][0].images[0].get_array())
        expected = truth[4].permute(1, 2, 0).squeeze(-1)
        torch.testing.assert_close(shown, expected)
        assert not grid[2][3].images


def test_a_grid_of_other_shapes_is_refused() -> None:
    tile = Tiles(defense="d", attack="a", images=torch.rand(2, 1, 8, 8), scores=torch.rand(2))
    with pytest.raises(SpecError, match="shaped as the originals"):
        grid_figure(torch.rand(2, 1, 9, 9), [tile], [0, 1], "ssim")


def test_an_experiment_is_drawn_as_pdf_and_png(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run_bench(SPEC, folder)
    done = CliRunner().invoke(app, ["report", str(folder), "--figures"])
    assert done.exit_code == 0, done.output
    files = sorted((folder / "figures").iterdir())
    stems = {path.stem for path in files}
    assert {name.partition("-")[0] for name in stems} == {"grid", "by_cut", "by_step"}
    assert all(str(path) in done.output for path in files)
    assert len(files) == 2 * len(stems)
    for path in files:
        if path.suffix == ".png":
            assert imread(path).std() > 5
        else:
            assert path.read_bytes().startswith(b"%PDF")
            assert b"/Type3" not in path.read_bytes()
    cell = json.loads(next((folder / "cells").iterdir()).read_text())
    assert {"curve", "progress"} <= set(cell)


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no experiment"):
        write_figures(tmp_path)
