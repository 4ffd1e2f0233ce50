"""The gradients in an update, in closed form, and updates that an attacker can't compute."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.knowledge import Updates
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream

X = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def loss(net: nn.Module) -> Tensor:
    out: Tensor = net(X).square().mean()
    return out


def gradients() -> dict[str, Tensor]:
    net = network()
    loss(net).backward()
    return {name: w.grad.clone() for name, w in net.named_parameters() if w.grad is not None}


def stepped(training: Training, steps: int) -> dict[str, Tensor]:
    """The weights after a client's steps."""
    net = network()
    optimizer = training.optimizer_for(net)
    assert optimizer is not None
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
    return {name: w.detach() for name, w in net.named_parameters()}


def updates(heard: Mapping[str, Tensor], **options: Any) -> Updates:
    facts: dict[str, Any] = {
        "kind": "weights", "whole": True, "batch": 5, "steps": 1, "client": None,
        "training": Training(optimizer="sgd", lr=0.1),
    }  # fmt: skip
    return Updates(network=network(), heard=heard, **{**facts, **options})


def as_heard(*releases: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Updates as heard, (R, 1, ...), for one group and R releases."""
    return {name: torch.stack([r[name] for r in releases])[:, None] for name in releases[0]}


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_one_step_of_sgd_gives_the_gradient_itself(decay: float) -> None:
    training = Training(optimizer="sgd", lr=0.1, weight_decay=decay)

    found = updates(as_heard(stepped(training, 1)), training=training).gradients()

    for name, gradient in gradients().items():
        torch.testing.assert_close(found[name][0], gradient)


def test_several_steps_give_roughly_the_mean_one() -> None:
    training = Training(optimizer="sgd", lr=1e-4)

    found = updates(as_heard(stepped(training, 3)), training=training, steps=3).gradients()

    for name, gradient in gradients().items():
        torch.testing.assert_close(found[name][0], gradient, rtol=1e-2, atol=1e-3)


def test_a_step_of_adam_tells_the_sign() -> None:
    training = Training(optimizer="adam", lr=0.1)

    found = updates(as_heard(stepped(training, 1)), training=training).gradients()

    for name, gradient in gradients().items():
        torch.testing.assert_close(found[name][0], gradient.sign(), rtol=0, atol=1e-5)


def test_gradients_that_were_heard_are_averaged_over_releases() -> None:
    own = gradients()
    twice = as_heard(own, {name: 3 * g for name, g in own.items()})

    found = updates(twice, kind="weight_grad").gradients()

    for name, gradient in own.items():
        torch.testing.assert_close(found[name][0], 2 * gradient)


def test_own_samples_are_heard_through_the_clients_own_program() -> None:
    asked: list[Any] = []

    def client(x: Tensor, y: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        asked.append((x, y, rng))
        return as_heard(gradients())

    base, rng = updates(as_heard(gradients()), kind="weight_grad", client=client), Stream(0)
    y = torch.zeros(5, dtype=torch.int64)

    about = base.about(X, y, rng)

    assert asked == [(X, y, rng)]
    assert about.batch == base.batch
    torch.testing.assert_close(about.gradients()["weight"][0], gradients()["weight"])


def test_an_update_of_a_part_cannot_be_computed_alone() -> None:
    with pytest.raises(ThreatModelError, match="can't be computed alone"):
        updates(as_heard(gradients())).about(X, torch.zeros(5), Stream(0))
