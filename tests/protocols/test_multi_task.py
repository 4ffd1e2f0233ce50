"""Multi-task split learning against one network trained whole, in float64."""

from dataclasses import replace

import pytest
import torch
from support.feature_blocks import check_uneven_blocks_equal_the_monolith, replay
from support.feature_networks import Monolith, Style, schedule, weights
from support.tiny import EPOCHS, SGD, N, close, flat

from sltoolkit.errors import SpecError
from sltoolkit.protocols import MultiTask
from sltoolkit.training.phases import deploy
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden


def test_multi_task_clients_follow_the_sum_of_all_heads() -> None:
    protocol = MultiTask(clients=3)
    run, log = replay(protocol, SGD)
    close(weights(run), Monolith(run).learn(schedule(log), SGD).weights())
    alone, _ = replay(replace(protocol, tasks=("class",)), SGD)
    assert not torch.allclose(
        flat(deploy(alone)[0][0].client), flat(deploy(run)[0][0].client), atol=1e-4
    )


def test_multi_task_sends_everything_once_per_task() -> None:
    run, _ = replay(MultiTask(clients=2), SGD)
    size = 8 * EPOCHS * N * 2 * 6 * 3
    assert run.cast.wire.bytes == {
        link: size
        for party in ("client", "partner1")
        for server in ("server", "server1")
        for link in (Link(party, server, "smashed"), Link(server, party, "smashed_grad"))
    }


@pytest.mark.parametrize("style", ["conv", "mlp"])
def test_uneven_blocks_side_by_side_equal_the_monolith(style: Style) -> None:
    check_uneven_blocks_equal_the_monolith(MultiTask(clients=4), style)


def test_settings_are_checked() -> None:
    with pytest.raises(SpecError, match="no task is called 'color'"):
        MultiTask(tasks=("class", "color"))
    for tasks in ((), ("parity", "class")):
        with pytest.raises(SpecError, match="must begin with 'class'"):
            MultiTask(tasks=tasks)
