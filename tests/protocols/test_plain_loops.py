"""Every protocol takes the steps of the plain PyTorch loop against which its speed is measured."""

from dataclasses import replace

import pytest
import torch
from plain import PLAIN, SPLIT
from protocol_epochs import seated
from split_epoch import random_split
from torch import Tensor

from sltoolkit.protocols import PROTOCOLS
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import Run

pytestmark = pytest.mark.golden

LOOPS: list[tuple[str, dict[str, bool]]] = [(name, {}) for name in PROTOCOLS] + [
    (name, {"apart": False}) for name in sorted(SPLIT)
]


@pytest.mark.parametrize(("name", "options"), LOOPS)
def test_a_protocol_takes_the_steps_of_a_plain_loop(name: str, options: dict[str, bool]) -> None:
    data = random_split(269, (1, 28, 28))  # neither clients nor batches are of one size
    data = replace(data, private_train=replace(data.private_train, x=data.private_train.x.double()))
    ours, theirs = seated(name, data), seated(name, data)
    begin = _deployed(ours)
    for epoch in range(2):
        ours.protocol.epoch(ours.cast, Clock(epoch=epoch), "train")
        PLAIN[name](theirs.cast, **options)
    theirs.cast.fed_server = None  # the plain loop leaves the mean in the clients' networks
    got, expected = _deployed(ours), _deployed(theirs)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    if ours.protocol.learns:
        assert not torch.allclose(got, begin, rtol=0, atol=1e-3)


def _deployed(run: Run) -> Tensor:
    clients, server = run.protocol.deploy(run.cast, run.data.private_train)
    networks = [*(net for c in clients for net in (c.client, *c.hops)), server]
    return torch.cat([w.detach().flatten() for net in networks for w in net.parameters()])
