"""FSHA's property inference: its loss, what it may infer from which seat, and its success."""

from copy import deepcopy

import pytest
import torch
from support.hijacked import network
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.api import attack, train
from sltoolkit.attacks.hijacking._hijacker import Trio
from sltoolkit.attacks.hijacking.fsha_property import FSHAProperty
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import AttributeGuess
from sltoolkit.data import load
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.referee.scoring import score
from sltoolkit.referee.truth import Truth
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

TASK = Task(input_shape=(1, 8, 8), smashed_shape=(4, 4, 4), classes=5)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_attribute_is_being_of_one_of_the_classes() -> None:
    y = torch.tensor([0, 3, 1, 3, 4])
    assert FSHAProperty(classes=(1, 3)).attribute(y).tolist() == [0, 1, 1, 1, 0]
    with pytest.raises(SpecError, match="classes must not be empty"):
        FSHAProperty(classes=())


def test_pilot_and_classifier_follow_the_attributes_cross_entropy() -> None:
    how = FSHAProperty(width=6, blocks=1, lr=1e-2, classes=(1, 3))
    z, x, y = drawn(5, 4, 4, 4), drawn(5, 1, 8, 8, seed=1), torch.tensor([0, 3, 1, 3, 4])
    with Stream(1).scope():
        ours = Trio(how, TASK, z, OwnDefense(None, Stream(0)))
    pilot, classifier = deepcopy(ours.pilot.network), deepcopy(ours.reader.network)
    assert [type(m) for m in pilot.modules() if isinstance(m, nn.SiLU)] == [nn.SiLU]
    how.step(ours, z, x, y)

    adam = torch.optim.Adam([*pilot.parameters(), *classifier.parameters()], lr=1e-2)
    has = torch.tensor([[0.0], [1.0], [1.0], [1.0], [0.0]], dtype=torch.float64)
    functional.binary_cross_entropy_with_logits(classifier(pilot(x)), has).backward()
    adam.step()
    for mine, theirs in ((ours.pilot, pilot), (ours.reader, classifier)):
        for a, b in zip(mine.network.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_the_referee_scores_an_attribute_as_it_scores_labels() -> None:
    has = torch.tensor([0, 1, 1, 0])
    truth = Truth(x=torch.zeros(4, 1, 8, 8), y=has, ids=torch.arange(4))
    r = torch.tensor([0.1, 0.4, -0.2, -0.3])
    scores = score(AttributeGuess(scores=torch.stack([-r, r], 1)), truth).scores
    assert scores["attribute_accuracy"].tolist() == [0.0, 1.0, 0.0, 1.0]
    # 3 of the 4 pairs of one sample with and one without the attribute are in order
    assert float(scores["attribute_auc"]) == pytest.approx(0.75)


def test_it_is_refused_to_who_holds_the_labels_anyway() -> None:
    with pytest.raises(ThreatModelError, match="would steal labels"):
        train(network, load("digits"), cut="cut", protocol=Vanilla(), active=FSHAProperty.smoke())


def test_a_server_without_labels_learns_who_has_the_attribute() -> None:
    thief = FSHAProperty(width=16, blocks=1, classes=(0, 1, 2, 3, 4))
    victim = train(
        network, load("digits"), cut=("cut", "features"), protocol=UShaped(),
        training=Training(epochs=16, batch_size=32), targets=Targets(labels=200, hints=0),
        active=thief,
    )  # fmt: skip
    verdict = attack(victim, thief).verdict
    assert verdict.truth.y is not None
    assert set(verdict.truth.y.tolist()) == {0, 1}
    assert float(verdict.scores["attribute_auc"]) > 0.62  # 200 targets: chance gives 0.5 +- 0.04
    majority = verdict.baselines["attribute_accuracy"]["class_prior"]
    assert float(verdict.scores["attribute_accuracy"].mean()) > majority + 0.05
