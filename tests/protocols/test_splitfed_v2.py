"""SplitFed v2 against vanilla, in float64, and the order of its clients."""

from dataclasses import replace

import pytest
import torch
from support.rounds import check_one_client_is_vanilla, run, weights
from support.tiny import ADAM, SGD

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import SplitFedV2

pytestmark = pytest.mark.golden


def test_v2_meets_its_clients_in_an_order_of_its_own_and_the_order_matters() -> None:
    _, log = run(SplitFedV2(clients=4), replace(SGD, epochs=6))
    orders = []
    for epoch in range(6):
        seen = [m.src.index for m in log.sent("smashed", "client") if m.turn.epoch == epoch]
        orders.append(tuple(dict.fromkeys(seen)))
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 1
    one, other = (run(SplitFedV2(clients=4), replace(SGD, epochs=1), seed=s) for s in (0, 1))
    assert not torch.equal(weights(one[0]), weights(other[0]))


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_splitfed_is_vanilla(training: Training) -> None:
    check_one_client_is_vanilla(SplitFedV2(clients=1), training)
