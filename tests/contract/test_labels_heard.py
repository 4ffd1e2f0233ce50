"""Labels heard on the wire are what the defense sends; seats that own labels have the true ones."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import pytest
import torch
from support.scripted_attacks import Says
from support.toys import CLASSES, victim
from torch import Tensor
from torch.nn import functional

from sltoolkit.attacks import SDAR, Decoder
from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV2, UShaped, Vanilla
from sltoolkit.testing.judging import view_for
from sltoolkit.testing.other_world import asked_about
from sltoolkit.wire.turn import Turn

UNTRAINED = Training(epochs=0)


@dataclass(kw_only=True, eq=False)
class Next(Defense):
    """Sends the next class in place of every class."""

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        return (y + 1) % CLASSES


@dataclass(kw_only=True, eq=False)
class NextWeighed(Defense):
    """Sends label weights, of which the next class has the largest."""

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        return 0.6 * functional.one_hot((y + 1) % CLASSES, CLASSES).float() + 0.1


@dataclass(kw_only=True, eq=False)
class AnyClass(Defense):
    """Sends a random class, whatever the label is."""

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        return torch.randint(CLASSES, y.shape, generator=turn.rng.torch())


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LabelsView:
    """The targets' labels."""

    labels: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AsksLabels(Says):
    """Asks for labels, from any seat."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "client", "colluding")
    view: ClassVar[type] = LabelsView


def labels_of(protocol: Protocol, role: Role, defense: Defense) -> tuple[Tensor, Tensor]:
    """The labels that the view holds, and the true labels."""
    attacked = victim(defense, protocol=protocol, training=UNTRAINED)
    view = view_for(AsksLabels(answer=lambda _: Outcome()), attacked, role=role)
    return view.labels, asked_about(attacked).images.y


@pytest.mark.parametrize("defense", [Next(), NextWeighed()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("protocol", [Vanilla(), SplitFedV2(clients=2)], ids=str)
@pytest.mark.parametrize("role", ["server", "eavesdropper", "colluding"])
def test_where_labels_travel_their_hearers_get_what_was_sent(
    protocol: Protocol, role: Role, defense: Defense
) -> None:
    heard, truth = labels_of(protocol, role, defense)
    assert torch.equal(heard, (truth + 1) % CLASSES)


@pytest.mark.parametrize(
    ("protocol", "role"),
    [
        (Vanilla(), "client"), (Vanilla(labels_at="server"), "server"),
        (Vanilla(labels_at="server"), "eavesdropper"), (UShaped(), "server"),
        (UShaped(), "client"),
    ],
    ids=str,
)  # fmt: skip
def test_owned_and_granted_labels_are_the_true_ones(protocol: Protocol, role: Role) -> None:
    heard, truth = labels_of(protocol, role, Next())
    assert torch.equal(heard, truth)


def test_a_random_defense_says_the_same_however_often_it_is_asked() -> None:
    (first, truth), (second, _) = (labels_of(Vanilla(), "server", AnyClass()) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, truth)


@pytest.mark.parametrize("attack", [Decoder.smoke(), SDAR.smoke()], ids=lambda a: type(a).__name__)
def test_that_is_what_conditioned_attacks_see(attack: Any) -> None:
    attacked = victim(Next(), training=UNTRAINED)
    view = view_for(attack, attacked)
    assert torch.equal(view.labels, (asked_about(attacked).images.y + 1) % CLASSES)
