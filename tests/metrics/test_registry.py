"""The metadata of metrics says what the functions do."""

import pytest
import torch

from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, METRICS, applicable, gain, gain_range, primary

pytestmark = pytest.mark.golden


def names(kind: str, shape: tuple[int, ...]) -> list[str]:
    return [m.name for m in applicable(kind, shape)]


def test_every_metric_is_registered_under_its_name_and_of_one_kind() -> None:
    assert all(name == m.name for name, m in METRICS.items())
    assert sorted(name for kind in KINDS.values() for name in kind) == sorted(METRICS)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 32, 32), ["ssim", "mse", "psnr_db", "mse_affine"]),
        ((1, 11, 11), ["ssim", "mse", "psnr_db", "mse_affine"]),
        ((1, 11, 10), ["mse", "psnr_db", "mse_affine"]),
        ((1, 8, 8), ["mse", "psnr_db", "mse_affine"]),
        ((20,), ["mse", "mse_affine"]),
    ],
)
def test_the_shape_decides_which_metrics_judge_a_reconstruction(
    shape: tuple[int, ...], expected: list[str]
) -> None:
    assert names("reconstruction", shape) == expected
    assert primary("reconstruction", shape).name == expected[0]
    x = torch.rand(2, *shape)
    for metric in applicable("reconstruction", shape):
        assert metric.function(x, x).shape == (2,)


def test_labels_are_judged_by_leak_auc_whatever_the_shape() -> None:
    for shape in ((3, 32, 32), (1, 8, 8), (20,)):
        assert names("labels", shape) == ["leak_auc", "label_accuracy"]
        assert primary("labels", shape).name == "leak_auc"


def test_an_unknown_kind_is_named_with_its_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'labels'"):
        applicable("label", (1, 8, 8))


@pytest.mark.parametrize("name", KINDS["reconstruction"])
def test_direction_and_bounds_of_reconstruction_metrics(name: str) -> None:
    metric = METRICS[name]
    y = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).round()
    wrong = y.roll(1, 0) if name == "mse_affine" else 1 - y  # mse_affine forgives an inversion
    perfect, poor = metric.function(y, y), metric.function(wrong, y)
    best = metric.upper_bound if metric.higher_is_more_leak else metric.lower_bound
    assert perfect.tolist() == pytest.approx([best] * 4)
    assert poor.min() >= metric.lower_bound
    assert poor.max() <= metric.upper_bound
    assert (gain(metric, perfect, poor) > 0).all()


@pytest.mark.parametrize("name", KINDS["labels"])
def test_direction_and_bounds_of_label_metrics(name: str) -> None:
    metric = METRICS[name]
    labels = torch.arange(12) % 3
    right = torch.nn.functional.one_hot(labels).double()
    assert float(metric.function(right, labels).mean()) == metric.upper_bound
    assert float(metric.function(-right, labels).mean()) == metric.lower_bound
    assert metric.per_target == (metric.function(right, labels).shape == (12,))


def test_gain_is_positive_when_more_leaks_than_the_baseline() -> None:
    assert gain(METRICS["mse"], 0.01, 0.06) == pytest.approx(0.05)
    assert gain(METRICS["ssim"], 0.7, 0.2) == pytest.approx(0.5)
    assert gain(METRICS["psnr_db"], 12.0, 13.0) == pytest.approx(-1.0)


def test_a_gain_is_bounded_by_the_metric_and_the_baseline() -> None:
    assert gain_range(METRICS["ssim"], (0.1, 0.3)) == (-1.3, 0.9)
    assert gain_range(METRICS["mse"], (0.1, 0.3)) == (-0.9, 0.3)
    assert gain(METRICS["leak_auc"], 0.4, 0.5) == pytest.approx(-0.1)
