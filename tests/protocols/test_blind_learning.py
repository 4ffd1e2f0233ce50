"""Blind learning against vanilla and the large-batch gradient, in float64."""

from dataclasses import replace

import pytest
from support.rounds import FULL, check_one_client_is_vanilla, one_big_step, parts, run
from support.tiny import ADAM, SGD, N, close, flat
from support.tiny import data as tiny_data
from torch import nn

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import BlindLearning
from sltoolkit.training.phases import deploy

pytestmark = pytest.mark.golden


def test_blind_learning_moves_the_server_along_the_large_batch_gradient() -> None:
    seated, _ = run(BlindLearning(clients=3), FULL)
    close(flat(deploy(seated)[1]), one_big_step()[-flat(parts()[1]).numel() :])


def test_blind_learning_sends_each_client_its_weighted_share_of_the_gradient() -> None:
    _, log = run(BlindLearning(clients=3), replace(FULL, lr=0.0))
    head, rest = parts()
    samples = tiny_data().private_train
    for k, message in enumerate(log.sent("smashed_grad", "server")):
        mine = message.turn.ids - 1000
        z = head(samples.x[mine]).detach().requires_grad_()
        share = len(mine) / N
        (share * nn.functional.cross_entropy(rest(z), samples.y[mine])).backward()
        assert z.grad is not None
        assert message.dst.index == k
        close(message.payload, z.grad)


@pytest.mark.parametrize("training", [SGD, ADAM], ids=["sgd", "adam"])
def test_with_one_client_splitfed_is_vanilla(training: Training) -> None:
    check_one_client_is_vanilla(BlindLearning(clients=1), training)
