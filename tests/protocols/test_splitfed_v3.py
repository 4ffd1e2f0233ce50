"""SplitFed v3 against vanilla, in float64, and what it averages."""

import pytest
import torch
from support.rounds import check_one_client_is_vanilla, run
from support.tiny import ADAM, SGD, flat

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import SplitFedV3
from sltoolkit.training.phases import deploy

pytestmark = pytest.mark.golden


def test_v3_averages_the_server_and_leaves_clients_private() -> None:
    seated, log = run(SplitFedV3(clients=3), SGD)
    members, _ = deploy(seated)
    heads = [flat(m.client) for m in members]
    assert all(not torch.equal(heads[0], h) for h in heads[1:])
    copies = [flat(h.party.module) for h in seated.cast.servers]  # type: ignore[union-attr]
    assert all(torch.equal(copies[0], c) for c in copies)
    assert {m.kind for m in log.messages} == {"smashed", "smashed_grad", "labels"}


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_splitfed_is_vanilla(training: Training) -> None:
    check_one_client_is_vanilla(SplitFedV3(clients=1), training)
