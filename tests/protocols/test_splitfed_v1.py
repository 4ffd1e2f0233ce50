"""SplitFed v1 against vanilla and large batches, in float64."""

import pytest
from support.rounds import check_one_client_is_vanilla, check_one_step_is_one_large_batch_step
from support.tiny import ADAM, SGD

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import SplitFedV1

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_splitfed_is_vanilla(training: Training) -> None:
    check_one_client_is_vanilla(SplitFedV1(clients=1), training)


@pytest.mark.parametrize("clients", [2, 3])  # 3 do not divide 22: shards of 8, 7, 7
def test_one_full_batch_step_of_all_clients_is_one_large_batch_step(clients: int) -> None:
    check_one_step_is_one_large_batch_step(SplitFedV1(clients=clients))
