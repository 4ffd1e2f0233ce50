"""The referee is after each attack what it was before, or the attack's result is void."""

import functools
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from contract.example_listener import PseudoClient
from support.scripted_attacks import Says
from support.toys import CUT, QUICK, TARGETS, network, split, victim
from torch import nn

import sltoolkit as sl
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import TamperingError
from sltoolkit.metrics import KINDS, METRICS, image
from sltoolkit.referee import judge as referee
from sltoolkit.referee.intact import intact
from sltoolkit.rows import build


def _registry() -> None:
    METRICS["own"] = METRICS["mse"]  # type: ignore[index]


def _less() -> None:
    METRICS.pop("psnr_db")  # type: ignore[attr-defined]


def _kinds() -> None:
    KINDS["reconstruction"] = ("mse",)  # type: ignore[index]


def _direction() -> None:
    object.__setattr__(METRICS["mse"], "higher_is_more_leak", True)


def _code() -> None:
    image.ssim.__code__ = image.ssim.__code__.replace(co_name="other")


def _constant() -> None:
    image.SSIM_C1 = 1e9


def _baselines() -> None:
    referee.baselines_of = lambda *_: ({}, {})  # type: ignore[attr-defined]


def _gain() -> None:
    vars(build)["gain"] = lambda *_: 1.0


TAMPERING = pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (_registry, "METRICS.own"), (_less, "METRICS.psnr_db"),
        (_kinds, "KINDS.reconstruction"), (_direction, "higher_is_more_leak"),
        (_code, "image.ssim"), (_constant, "image.SSIM_C1"), (_baselines, "judge.baselines_of"),
        (_gain, "build.gain"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip


def _gray(view: Any) -> Reconstruction:
    return Reconstruction(images=torch.full((view.smashed.shape[1], 1, 8, 8), 0.5))


@TAMPERING
def test_a_result_is_void_and_the_referee_is_put_back(
    tamper: Callable[[], None], named: str
) -> None:
    whom = victim()

    def cheat(view: Any) -> Reconstruction:
        tamper()
        return _gray(view)

    with pytest.raises(TamperingError, match=rf"Says's result is void: .*{named}"):
        sl.attack(whom, Says(answer=cheat))

    honest = sl.attack(whom, Says(answer=_gray))
    assert list(honest.verdict.scores) == ["mse", "psnr_db", "mse_affine"]


@TAMPERING
def test_a_failing_attack_leaves_no_change(tamper: Callable[[], None], named: str) -> None:
    def fails() -> None:
        tamper()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), intact("it"):
        fails()
    with intact("another"):
        pass


def test_a_known_pair_shows_what_lies_below_the_metrics() -> None:
    with (
        mock.patch.object(torch.Tensor, "square", lambda t: t.abs() / 2),
        pytest.raises(TamperingError, match=r"a known pair scores .*where it must score"),
        intact("it"),
    ):
        pass


def test_metrics_that_can_no_longer_be_computed_void_the_result() -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    with (
        mock.patch.object(torch.Tensor, "double", fails),
        pytest.raises(TamperingError, match=r"known pair scores nothing \(ZeroDivisionError"),
        intact("it"),
    ):
        pass


def test_a_stolen_model_that_changes_the_referee_while_it_is_scored_voids_the_result() -> None:
    class Rogue(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _code()
            return x.flatten(1)[:, :3]

    def steal(view: Any) -> Reconstruction:
        return Reconstruction(images=_gray(view).images, model=Rogue())

    with pytest.raises(TamperingError, match=r"image\.ssim"):
        sl.attack(victim(), Says(answer=steal))


def test_a_listener_that_changes_a_metric_voids_the_training() -> None:
    opened = PseudoClient.open

    def tampering(*args: Any, **kwargs: Any) -> Any:
        _direction()
        return opened(*args, **kwargs)

    with (
        mock.patch.object(PseudoClient, "open", tampering),
        pytest.raises(TamperingError, match="PseudoClient's result is void"),
    ):
        sl.train(
            network, split(), cut=CUT, training=QUICK, targets=TARGETS,
            listeners=[PseudoClient()], grants=("aux", "client_arch"),
        )  # fmt: skip


def test_known_pairs_score_what_scikit_image_says() -> None:
    compare = pytest.importorskip("skimage.metrics").structural_similarity
    side = torch.arange(16.0).ge(8).float()
    across, down = side.expand(16, 16).numpy(), side[:, None].expand(16, 16).numpy()
    similar = functools.partial(
        compare, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert similar(across, down) == pytest.approx(0.00240533, abs=1e-6)
