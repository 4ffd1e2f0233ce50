"""Multi-hop split learning against centralized training, in float64."""

import pytest
import torch
from support.feature_networks import parts, play_parts
from support.tiny import ADAM, EPOCHS, MOMENTUM, SGD, N, close, data, flat
from torch import Tensor, nn

from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import MultiHop, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden

HOPS = pytest.mark.parametrize("hops", [1, 2])
WIDTHS = (2 * 6 * 6, 7, 5)  # values per sample at each cut


def whole_after(batches: list[Tensor], training: Training) -> nn.Sequential:
    whole = nn.Sequential(*parts(4))
    optimizer = training.optimizer_for(whole)
    assert optimizer is not None
    samples = data().private_train
    for ids in batches:
        loss = nn.functional.cross_entropy(whole(samples.x[ids - 1000]), samples.y[ids - 1000])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return whole.eval()


def weights(run: Run) -> Tensor:
    (member,), server = deploy(run)
    return flat(member.client, *member.hops, server)


@HOPS
@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("training", [MOMENTUM, ADAM], ids=["momentum", "adam"])
def test_a_chain_equals_centralised_training(hops: int, clients: int, training: Training) -> None:
    protocol = MultiHop(hops=hops, clients=clients, optimizer_state=True)
    run, log = play_parts(protocol, parts(hops + 2), training)
    whole = whole_after(log.batches(), training)
    close(weights(run), flat(whole))
    (member,), server = deploy(run)
    x = data().private_holdout.x
    assert len(member.hops) == hops
    close(server(member.smash(x, Stream(0), hops=hops)[1]), whole(x))


def test_every_hop_is_a_cut_of_the_network() -> None:
    for hops in (1, 2, 3):
        assert MultiHop(hops=hops).parts == hops + 2
    with pytest.raises(
        SpecError, match="MultiHop: hops must be a whole number of at least 1, got 0"
    ):
        MultiHop(hops=0)
    with pytest.raises(ProtocolError, match="needs the network in 4 parts, got 3: give 3 cut"):
        play_parts(MultiHop(hops=2), parts(3), SGD)


@HOPS
def test_both_ways_cost_2p_values_at_every_cut_and_no_label_travels(hops: int) -> None:
    run, _ = play_parts(MultiHop(hops=hops), parts(hops + 2), SGD)
    names = ["client", *(f"hop{i + 1}" for i in range(hops)), "server"]
    expected = {}
    for a, b, q in zip(names, names[1:], WIDTHS, strict=False):
        expected[Link(a, b, "smashed")] = 8 * EPOCHS * N * q
        expected[Link(b, a, "smashed_grad")] = 8 * EPOCHS * N * q
    assert run.cast.wire.bytes == expected


def test_gradients_retrace_the_way() -> None:
    _, log = play_parts(MultiHop(hops=2), parts(4), SGD)
    first = [m for m in log.messages if m.turn.step == 0]
    assert [(m.kind, str(m.src), str(m.dst)) for m in first] == [
        ("smashed", "client", "hop1"),
        ("smashed", "hop1", "hop2"),
        ("smashed", "hop2", "server"),
        ("smashed_grad", "server", "hop2"),
        ("smashed_grad", "hop2", "hop1"),
        ("smashed_grad", "hop1", "client"),
    ]
    assert all(m.turn.y is None for m in log.messages)
    stages = parts(4)
    z = first[0].payload.requires_grad_()
    y = data().private_train.y[first[0].turn.ids - 1000]
    nn.functional.cross_entropy(nn.Sequential(*stages[1:])(z), y).backward()
    assert z.grad is not None
    close(first[-1].payload, z.grad)


def test_batches_are_those_of_vanilla() -> None:
    hop, vanilla = (
        play_parts(protocol, parts(protocol.parts), SGD)[1]
        for protocol in (MultiHop(hops=2), Vanilla())
    )
    assert torch.equal(torch.cat(hop.batches()), torch.cat(vanilla.batches()))
