"""He, Zhang and Lee's MNIST setting on real data: what shallow cuts leak."""

from pathlib import Path

import pytest
import whitebox_batch
from he_mnist import BARS, measure

from sltoolkit import api
from sltoolkit.attacks import WhiteBox
from sltoolkit.data import load
from sltoolkit.data.targets import Targets
from sltoolkit.parties.settings import Training

pytestmark = pytest.mark.golden

ROOT = Path(__file__).parents[3].parent / "shared" / "data"
needs_mnist = pytest.mark.skipif(
    not (ROOT / "MNIST" / "raw").is_dir(), reason=f"no MNIST under {ROOT}"
)


@needs_mnist
def test_the_first_convolution_gives_the_images_away() -> None:
    data = load("mnist", train=1500, holdout=100, aux=100, root=ROOT)
    victim = api.train(
        "lenet",
        data,
        cut="conv1",
        training=Training(epochs=1),
        targets=Targets(count=16),
    )
    result = api.attack(victim, WhiteBox(steps=150, start="mean"))
    assert result.outcome.tuned["tv_weight"] == 0.0
    assert float(result.verdict.scores["psnr_db"].mean()) >= 35
    assert float(result.verdict.scores["ssim"].mean()) >= 0.99


@needs_mnist
@pytest.mark.slow
def test_one_victim_meets_the_published_results() -> None:
    measured = measure(seeds=[0], root=ROOT)
    assert {key: measured[key] for key, bar in BARS.items() if measured[key] < bar} == {}
    assert measured["whitebox_relu2_accuracy"] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("at", ["conv1", "relu2"])
def test_64_targets_at_once_are_recovered_as_well_as_one_at_a_time(at: str) -> None:
    assert whitebox_batch.measure(at, repeats=1)["mean_relative_mse_difference"] < 0.02
