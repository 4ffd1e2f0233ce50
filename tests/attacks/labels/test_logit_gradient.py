"""The logits' gradient gives the label."""

import pytest
import torch
from support import toys
from support.linear_victims import SGD, linear, victim
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.attacks.labels.logit_gradient import LogitView
from sltoolkit.contracts.defense import Task
from sltoolkit.errors import SpecError
from sltoolkit.metrics import leak_auc
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden


def logits_view(logits: Tensor, y: Tensor, prior: Tensor | None = None) -> LogitView:
    logits = logits.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(functional.cross_entropy(logits, y), logits)
    classes = logits.shape[1]
    task = Task(input_shape=(4,), smashed_shape=(classes,), classes=classes)
    return LogitView(smashed_grad=g, task=task, prior=prior)


def test_the_only_negative_entry_at_the_logits_is_the_label() -> None:
    draws = torch.Generator().manual_seed(2)
    logits = 20 * torch.rand(500, 7, generator=draws) - 10  # beyond, a softmax saturates
    y = torch.randint(7, (500,), generator=draws)
    view = logits_view(logits, y)
    assert ((view.smashed_grad < 0).sum(1) == 1).all()
    scores = sl.LogitGradient().run(view, rng=Stream(0)).scores
    assert torch.equal(scores.argmax(1), y)


def test_a_saturated_softmax_leaves_the_prior() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    prior = torch.tensor([0.2, 0.1, 0.7])
    view = logits_view(logits, torch.tensor([0, 1]), prior)
    assert (view.smashed_grad[0] == 0).all()
    assert sl.LogitGradient().run(view, rng=Stream(0)).scores.argmax(1).tolist() == [2, 1]


def test_silent_targets_rank_between_those_with_and_without_the_label() -> None:
    y = torch.arange(40) % 4
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    view = logits_view(logits, y, prior=torch.tensor([0.4, 0.3, 0.2, 0.1]))
    silent = torch.arange(40) >= 20
    view.smashed_grad[silent] = 0
    scores = sl.LogitGradient().run(view, rng=Stream(0)).scores
    pairs = 1 - (silent.double().mean() ** 2) / 2  # only pairs of silent targets are left to chance
    assert float(leak_auc(scores, y)) == pytest.approx(float(pairs))


def test_every_label_leaks_where_logits_cross_the_cut_and_it_refuses_elsewhere() -> None:
    def network() -> nn.Sequential:
        whole = linear()
        whole.add_module("loss", nn.Identity())
        return whole

    apart = sl.Vanilla(labels_at="server")
    heard = sl.train(
        network, toys.split(), cut="head", protocol=apart, training=SGD, targets=toys.TARGETS
    )
    result = sl.attack(heard, sl.LogitGradient())
    assert result.verdict.scores["label_accuracy"].mean() == 1.0
    with pytest.raises(SpecError, match="cut behind the last layer"):
        sl.attack(victim(apart), sl.LogitGradient())
