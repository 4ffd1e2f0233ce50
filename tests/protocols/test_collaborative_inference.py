"""Networks that were trained elsewhere: which seat hears what, and that nobody learns."""

import pytest
import torch
from support.tiny import data, flat, network
from torch import nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import GaussianNoise
from sltoolkit.protocols import CollaborativeInference
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties


def asked(defense: Defense | None = None) -> tuple[Run, RecordingEar]:
    log = RecordingEar()
    run = seat_parties(
        tuple(part.eval() for part in network(2)), data(), protocol=CollaborativeInference(),
        defense=defense or NoDefense(), training=None, rng=Stream(0), ears=[log],
    )  # fmt: skip
    run_phases(run, 1)
    return run, log


def test_smashed_data_go_up_and_logits_come_down_and_nothing_else_travels() -> None:
    _, log = asked()

    ways = {(m.kind, str(m.src), str(m.dst)) for m in log.messages}
    assert ways == {("smashed", "client", "server"), ("logits", "server", "client")}


def test_the_client_asks_about_every_sample_and_gets_the_networks_answer() -> None:
    _, log = asked()

    ids = torch.cat([m.turn.ids for m in log.sent("logits", "server")])
    held = data().private_train
    assert sorted(ids.tolist()) == held.ids.tolist()
    whole = nn.Sequential(*network(2)).eval()
    for message in log.sent("logits", "server"):
        x = held.x[message.turn.ids - held.ids[0]]
        torch.testing.assert_close(message.payload, whole(x).detach())


@pytest.mark.parametrize("defense", [NoDefense(), GaussianNoise(std=1.0)])
def test_nobody_learns(defense: Defense) -> None:
    run, _ = asked(defense)

    (member, *_), server = deploy(run)
    assert torch.equal(flat(member.client, server), flat(*network(2)))


def test_the_defense_stands_before_the_wire() -> None:
    _, plain = asked()
    _, noisy = asked(GaussianNoise(std=1.0))

    sent = [torch.cat([m.payload for m in log.sent("smashed", "client")]) for log in (plain, noisy)]
    assert float((sent[1] - sent[0]).std()) == pytest.approx(1.0, rel=0.1)


def test_a_server_without_labels_sees_smashed_data_alone() -> None:
    seats = CollaborativeInference().seats

    assert set(seats["server"].links) == {"smashed"}
    assert "labels" not in seats["server"].grants
    assert "labels" in seats["client"].grants
