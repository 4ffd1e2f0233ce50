"""What each role holds by position, and defenses that would do nothing."""

from typing import Literal

import pytest

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import GaussianNoise, NoPeek
from sltoolkit.errors import ProtocolError
from sltoolkit.protocols._holdings import (
    FED_LINKS,
    colluder,
    refuse_inert,
    split_seats,
    whole_seats,
)


@pytest.mark.parametrize("owner", ["client", "server"])
def test_labels_are_held_by_their_owner_and_by_all_that_they_pass(
    owner: Literal["client", "server"],
) -> None:
    holders = {
        role for role, held in split_seats(labels_at=owner).items() if "labels" in held.grants
    }

    sent = {"client", "eavesdropper"} if owner == "client" else set()
    assert holders == {"server", "colluding"} | sent


def test_without_gradients_nobody_hears_one() -> None:
    for held in split_seats(labels_at="client", gradients=False).values():
        assert "smashed_grad" not in held.grants
    assert "smashed_grad" in split_seats(labels_at="client")["client"].grants


def test_roles_that_hear_weights_hold_the_clients_network() -> None:
    seats = split_seats(labels_at="client", weights_heard_by=FED_LINKS, updates=True)

    assert {"client_weights", "updates"} <= seats["eavesdropper"].grants
    assert not {"client_weights", "updates"} & seats["server"].grants


@pytest.mark.parametrize("alike", [True, False])
def test_a_colluder_brings_the_targets_weights_only_where_clients_are_alike(*, alike: bool) -> None:
    assert ("client_weights" in colluder(alike)) is alike
    assert ("peer_samples" in colluder(alike)) is not alike
    assert "peer_weights" in colluder(alike)


def test_where_nothing_is_split_no_smashed_data_are_heard() -> None:
    assert not [role for role, held in whole_seats().items() if held.links]


@pytest.mark.parametrize("defense", [GaussianNoise(), Chain(NoDefense(), NoPeek())])
def test_a_defense_of_messages_that_are_never_sent_is_refused(defense: Defense) -> None:
    with pytest.raises(ProtocolError, match=r"(GaussianNoise|NoPeek) would be silently inert"):
        refuse_inert(defense, "fedavg")


def test_nothing_is_not_inert() -> None:
    refuse_inert(NoDefense(), "fedavg")
    refuse_inert(Chain(NoDefense(), NoDefense()), "fedavg")
