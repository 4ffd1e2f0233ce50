"""Local losses: nothing comes back from the server."""

from dataclasses import replace

import pytest
import torch
from support.rounds import parts, run, weights
from support.tiny import SGD, flat
from support.tiny import data as tiny_data
from torch import Tensor

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.protocols import LocalLoss
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import seat_parties

pytestmark = pytest.mark.golden


def test_a_local_loss_needs_no_gradient_from_the_server() -> None:
    seated, log = run(LocalLoss(clients=2), SGD)
    assert not [m for m in log.messages if m.src.name == "server"]
    assert {m.kind for m in log.sent("smashed", "client")} == {"smashed"}
    still, _ = run(LocalLoss(clients=2), replace(SGD, epochs=0))
    assert not torch.equal(weights(seated), weights(still))


def test_the_servers_loss_never_moves_a_client_with_local_losses() -> None:
    def client(labels_shift: float) -> Tensor:
        seated = seat_parties(
            parts(), tiny_data(), protocol=LocalLoss(clients=2), defense=NoDefense(), training=SGD,
            rng=Stream(0),
        )  # fmt: skip
        with torch.no_grad():
            for w in seated.cast.server.party.module.parameters():  # type: ignore[union-attr]
                w.add_(labels_shift)
        run_phases(seated, 2)
        return flat(deploy(seated)[0][0].client)

    assert torch.equal(client(0.0), client(0.3))
