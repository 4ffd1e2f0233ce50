"""Which private records an attack is asked about, by its family."""

import pytest
import torch
from support.toys import victim

from sltoolkit.attacks import FSHAProperty, Retrieval
from sltoolkit.data.targets import Targets
from sltoolkit.errors import DataError, SpecError
from sltoolkit.referee.truth import asked_about, attributed
from sltoolkit.training.victim import Victim

TARGETS = Targets(count=6, labels=12, hints=2)


@pytest.fixture(scope="module")
def trained() -> Victim:
    return victim(targets=TARGETS)


def test_reconstructions_are_asked_of_held_out_records(trained: Victim) -> None:
    asked = asked_about(trained, TARGETS, "reconstruction")

    held_out = trained.data.private_holdout.ids
    assert len(asked.records) == 6
    assert torch.isin(asked.records.ids, held_out).all()
    assert not torch.isin(asked.labeled.ids, held_out).any()


def test_labels_are_asked_of_training_records_without_the_hints(trained: Victim) -> None:
    asked = asked_about(trained, TARGETS, "labels")

    assert torch.equal(asked.records.ids, asked.labeled.ids)
    assert torch.isin(asked.records.ids, trained.client.samples.ids).all()
    assert not torch.isin(asked.hinted.ids, asked.records.ids).any()
    assert asked.hinted.y.bincount(minlength=3).tolist() == [2, 2, 2]


def test_more_than_there_are_is_refused(trained: Victim) -> None:
    with pytest.raises(DataError, match="1000 targets asked for"):
        asked_about(trained, Targets(count=1000), "reconstruction")


def test_an_attribute_takes_the_place_of_the_labels(trained: Victim) -> None:
    samples = trained.data.private_holdout

    found = attributed(FSHAProperty(classes=(1,)), samples)

    assert torch.equal(found.y, (samples.y == 1).long())
    assert torch.equal(found.x, samples.x)
    with pytest.raises(SpecError, match="Retrieval guesses an attribute and doesn't say which"):
        attributed(Retrieval(), samples)
