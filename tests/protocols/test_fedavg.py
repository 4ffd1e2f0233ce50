"""Federated averaging against centralized training, in float64."""

import pytest
from support.rounds import (
    check_defense_of_smashed_data_is_refused,
    check_one_client_is_vanilla,
    check_one_step_is_one_large_batch_step,
)
from support.tiny import ADAM, SGD

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import FedAvg

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_the_references_are_centralized_training(training: Training) -> None:
    check_one_client_is_vanilla(FedAvg(), training)


@pytest.mark.parametrize("clients", [2, 3])  # 3 do not divide 22: shards of 8, 7, 7
def test_one_full_batch_step_of_all_clients_is_one_large_batch_step(clients: int) -> None:
    check_one_step_is_one_large_batch_step(FedAvg(clients=clients))


def test_a_defense_of_smashed_data_is_refused_where_none_are_sent() -> None:
    check_defense_of_smashed_data_is_refused(FedAvg(clients=2))
