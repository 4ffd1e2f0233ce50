"""Matching of updates: groups at once, and labels that are read off."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from dlg_batch import zhu as sigmoid_net
from support import toys
from support.gradient_checks import untrained_on
from support.updates import heard_of, in_groups
from torch import nn

import sltoolkit as sl
from sltoolkit.attacks.gradients._matching import Matching, sole_labels
from sltoolkit.attacks.gradients.inverting_gradients import InvertingView
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden


def test_groups_together_are_matched_like_one_at_a_time() -> None:
    victim = toys.victim(
        norm="batch", protocol=sl.LargeBatchSGD(), targets=replace(toys.TARGETS, batch=2)
    )
    updates, samples = heard_of(victim)
    exact = replace(
        updates, network=updates.network.double(),
        heard={name: h.double() for name, h in updates.heard.items()},
    )  # fmt: skip
    matching = Matching(exact, name="it")
    x, y = (t.double() for t in in_groups(exact, samples, toys.CLASSES))
    together = matching.of_many(x, y)
    for group in range(3):
        for name, alone in matching.of(x[group], y[group]).items():
            torch.testing.assert_close(together[name][group], alone, rtol=1e-9, atol=1e-12)
    task = victim.task
    view = InvertingView(updates=exact, task=task, labels=samples.y, aux=None)
    attacks: tuple[Any, ...] = (
        sl.InvertingGradients(steps=15, restarts=2),
        sl.DLG(steps=3, inner=5, restarts=2),
    )
    for attack in attacks:
        one, many = (
            replace(attack, chunk=chunk).run(view, rng=Stream(0)).images for chunk in (1, 64)
        )
        torch.testing.assert_close(one, many, rtol=1e-6, atol=1e-8)


def without_bias() -> nn.Sequential:
    network = sigmoid_net()
    network[-1] = nn.Linear(192, 10, bias=False)
    return network


@pytest.mark.parametrize("make", [sigmoid_net, without_bias])
def test_labels_of_single_samples_are_read_off_without_error(make: Any, digits: Any) -> None:
    """They are read off the bias or, without a bias, off the weights, with positive features."""
    updates, samples = heard_of(untrained_on(digits, make, 30))
    task = untrained_on(digits, make, 1).task
    labels = sole_labels(updates, task)
    assert labels is not None
    assert torch.equal(labels, samples.y)
