"""Parties with their own feature blocks: what is refused before training."""

import pytest
import torch
from support.feature_blocks import EACH, replay
from support.feature_networks import parts, play_parts
from support.tiny import SGD, flat

from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.protocols import ExtendedVanilla, MultiTask, Protocol, Vertical

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("make", [Vertical, ExtendedVanilla, MultiTask])
def test_more_clients_than_features_are_refused(
    make: type[Vertical] | type[ExtendedVanilla] | type[MultiTask],
) -> None:
    with pytest.raises(ProtocolError, match="7 clients can't share 6 features"):
        replay(make(clients=7), SGD)
    with pytest.raises(SpecError, match="clients must be a whole number of at least 1, got 0"):
        make(clients=0)


@EACH
def test_the_wrong_number_of_parts_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ProtocolError, match=f"needs the network in {protocol.parts} parts"):
        play_parts(protocol, parts(4), SGD)


def test_networks_that_were_trained_whole_are_not_dealt_out() -> None:
    with pytest.raises(ProtocolError, match=r"must be trained: train\(\.\.\.\) it"):
        play_parts(Vertical(), parts(2), None)
    run, _ = play_parts(Vertical(clients=1), parts(2), None)
    assert torch.equal(flat(run.cast.clients[0].party.module), flat(parts(2)[0]))
