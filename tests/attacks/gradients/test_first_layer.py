"""Exact inversions: the first layer's gradient gives the input, the logits' gradient the label."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from support import toys
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.attacks.gradients.first_layer import solve
from sltoolkit.attacks.labels.logit_gradient import LogitView
from sltoolkit.contracts.defense import Task
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim

pytestmark = pytest.mark.golden

SGD = Training(epochs=2, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


def linear(bias: bool = True, hidden: int = 12) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(), fc=nn.Linear(64, hidden, bias=bias), relu=nn.ReLU(),
        drop=nn.Dropout(0.2), fc2=nn.Linear(hidden, 8), relu2=nn.ReLU(),
        head=nn.Linear(8, toys.CLASSES),
    )  # fmt: skip
    return nn.Sequential(layers)


def victim(protocol: sl.training.protocol.Protocol, **options: Any) -> Victim:
    settings: dict[str, Any] = {
        "cut": "relu", "training": SGD, "targets": toys.TARGETS, "model": linear, **options
    }  # fmt: skip
    return sl.train(settings.pop("model"), toys.split(), protocol=protocol, **settings)


def squared_errors(result: Any) -> Tensor:
    off: Tensor = result.outcome.images - result.verdict.truth.x
    return off.square().flatten(1).mean(1)


# ---- the first layer -----------------------------------------------------------------------------


def gradients_of(x: Tensor, y: Tensor, network: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Gradients of the first linear layer, by autograd, one sample at a time."""
    found = []
    for row, label in zip(x, y, strict=True):
        loss = functional.cross_entropy(network(row[None]), label[None])
        found.append(torch.autograd.grad(loss, list(network[1].parameters())))
    return torch.stack([w for w, _ in found]), torch.stack([b for _, b in found])


def test_every_unit_that_moved_tells_the_input() -> None:
    with Stream(3).scope():
        network, x = linear().double().eval(), torch.rand(5, 1, 8, 8, dtype=torch.float64)
    weight, bias = gradients_of(x, torch.arange(5) % 3, network)
    for sample in range(5):
        moved = bias[sample] != 0
        assert 1 < int(moved.sum()) < 12  # ReLU silences some
        each = weight[sample, moved] / bias[sample, moved, None]
        assert torch.allclose(each, x[sample].flatten().expand_as(each), atol=1e-6, rtol=0)
    assert torch.allclose(solve(weight, bias), x.flatten(1), atol=1e-12, rtol=0)


def test_where_no_unit_moved_there_is_nothing_to_tell() -> None:
    weight, bias = torch.zeros(2, 4, 3), torch.tensor([[0.0] * 4, [0.0, 2.0, 0.0, 0.0]])
    weight[1, 1] = torch.tensor([2.0, 4.0, 6.0])
    assert solve(weight, bias).tolist() == [[0, 0, 0], [1, 2, 3]]


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        (sl.LargeBatchSGD(clients=2), 1e-12),
        # heard as differences of float32 weights of about 0.1, of which a part in 10^7 is noise
        (sl.FedAvg(clients=2), 1e-8),
        (sl.FedAvg(clients=2, local_epochs=4), 1e-8),
        (sl.SplitFedV1(clients=2), 1e-8),
        (sl.SplitFedV2(clients=2), 1e-8),
    ],
    ids=["large_batch_sgd", "fedavg", "fedavg-4-steps", "splitfed_v1", "splitfed_v2"],
)
def test_a_single_samples_update_gives_the_sample(protocol: Any, error: float) -> None:
    trained = victim(protocol, training=replace(SGD, epochs=1))
    result = sl.attack(trained, sl.FirstLayer(), grants=())
    assert result.verdict.role == ("eavesdropper" if "SplitFed" in repr(protocol) else "server")
    assert result.verdict.knowledge == ("updates",)
    assert squared_errors(result).max() < error


def test_weight_decay_is_taken_off_one_step() -> None:
    decayed = replace(SGD, epochs=1, weight_decay=0.1)
    result = sl.attack(victim(sl.FedAvg(clients=2), training=decayed), sl.FirstLayer())
    assert squared_errors(result).max() < 1e-8


def test_first_layer_says_why_it_refuses() -> None:
    federated = sl.FedAvg(clients=2)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("begins with Conv2d", {"model": toys.network, "cut": "drop"}),
        ("has no bias", {"model": lambda: linear(bias=False)}),
        ("sums over them", {"targets": replace(toys.TARGETS, batch=2)}),
        ("after a step of adam", {"training": Training(epochs=1)}),
        ("inputs as they are", {"model": lambda: nn.Sequential(nn.Sigmoid(), *linear()), "cut": 2}),
    ]
    for reason, options in cases:
        with pytest.raises(SpecError, match=reason):
            sl.attack(victim(federated, **options), sl.FirstLayer())


# ---- the logits ----------------------------------------------------------------------------------


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
