"""Vertical, extended vanilla and multi-task against one network trained whole, in float64."""

from dataclasses import replace

import pytest
import torch
from support.feature_blocks import EACH, MERGED, replay
from support.feature_networks import Monolith, Style, merged, parts, play_parts, schedule, weights
from support.tiny import ADAM, EPOCHS, MOMENTUM, SGD, N, close, data, flat, play
from torch import Tensor, nn

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import ExtendedVanilla, MultiTask, Protocol, Vanilla, Vertical
from sltoolkit.streams import Stream
from sltoolkit.training.merging import MergeName
from sltoolkit.training.phases import deploy
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden


@MERGED
@pytest.mark.parametrize("style", ["conv", "mlp"])
@pytest.mark.parametrize("training", [MOMENTUM, ADAM], ids=["momentum", "adam"])
def test_vertical_equals_the_monolith(merge: MergeName, style: Style, training: Training) -> None:
    run, log = replay(Vertical(clients=3, merge=merge), training, style)
    whole = Monolith(run, merge).learn(schedule(log), training)
    close(weights(run), whole.weights())


@pytest.mark.parametrize("style", ["conv", "mlp"])
@pytest.mark.parametrize(
    "protocol",
    [Vertical(clients=4), ExtendedVanilla(), ExtendedVanilla(clients=4), MultiTask(clients=4)],
    ids=["vertical", "extended-2", "extended-4", "multi_task"],
)
def test_uneven_blocks_side_by_side_equal_the_monolith(protocol: Protocol, style: Style) -> None:
    run, log = replay(protocol, ADAM, style)
    close(weights(run), Monolith(run).learn(schedule(log), ADAM).weights())


def test_multi_task_clients_follow_the_sum_of_all_heads() -> None:
    protocol = MultiTask(clients=3)
    run, log = replay(protocol, SGD)
    close(weights(run), Monolith(run).learn(schedule(log), SGD).weights())
    alone, _ = replay(replace(protocol, tasks=("class",)), SGD)
    assert not torch.allclose(
        flat(deploy(alone)[0][0].client), flat(deploy(run)[0][0].client), atol=1e-4
    )


@MERGED
def test_the_deployed_path_is_the_monolith_in_evaluation_mode(merge: MergeName) -> None:
    run, log = replay(Vertical(clients=2, merge=merge), SGD)
    whole = Monolith(run, merge).learn(schedule(log), SGD)
    (member,), server = deploy(run)
    x = data().private_holdout.x
    z, sent = member.smash(x, Stream(3))
    assert torch.equal(z, sent)
    close(server(sent), whole(x))


@EACH
def test_the_deployed_path_passes_all_hops(protocol: Protocol) -> None:
    run, log = replay(protocol, SGD)
    whole = Monolith(run).learn(schedule(log), SGD)
    (member,), server = deploy(run)
    x = data().private_holdout.x
    sent = member.smash(x, Stream(3), hops=len(member.hops))[1]
    close(server(sent), whole(x))
    assert len(member.hops) == isinstance(protocol, ExtendedVanilla)


def test_one_party_is_vanilla_with_labels_at_the_server() -> None:
    run, log = replay(Vertical(clients=1), ADAM)
    other, heard = play_parts(Vanilla(labels_at="server"), parts(2), ADAM)
    assert torch.equal(weights(run), weights(other))
    assert run.cast.wire.bytes == other.cast.wire.bytes
    assert torch.equal(torch.cat(log.batches()), torch.cat(heard.batches()))


def owed(merge: MergeName, k: int, zs: list[Tensor], g: Tensor) -> Tensor:
    """What party k receives if `g` is the gradient at the merged data."""
    width = zs[0].shape[-1]
    match merge:
        case "concat":
            return g[..., k * width : (k + 1) * width]
        case "sum":
            return g
        case "mean":
            return g / len(zs)
        case "max":
            others = torch.stack([z for i, z in enumerate(zs) if i != k])
            return g * (zs[k] > others).all(0)
        case "mul":
            others = torch.stack([z for i, z in enumerate(zs) if i != k])
            return g * others.prod(0)


@MERGED
def test_every_party_receives_the_gradient_that_its_data_are_owed(merge: MergeName) -> None:
    run, log = replay(Vertical(clients=3, merge=merge), SGD)
    names = ["client", "partner1", "partner2"]
    zs = [log.sent("smashed", name)[0].payload for name in names]
    back = log.sent("smashed_grad", "server")[:3]
    assert [m.dst.name for m in back] == names
    m = merged(merge, zs).requires_grad_()
    y = data().private_train.y[back[0].turn.ids - 1000]
    nn.functional.cross_entropy(Monolith(run, merge).rest()(m), y).backward()
    assert m.grad is not None
    for k, message in enumerate(back):
        assert float(message.payload.abs().max()) > 0
        close(message.payload, owed(merge, k, zs, m.grad))


@EACH
def test_all_parties_see_the_same_samples_in_vanilla_s_order(protocol: Protocol) -> None:
    _, log = replay(protocol, SGD)
    _, vanilla = play(Vanilla())
    assert torch.equal(torch.cat(schedule(log)), torch.cat(vanilla.batches()))
    expected = dict(enumerate(vanilla.batches()))
    for name in ("client", "partner1", "partner2"):
        sent = log.sent("smashed", name)
        assert {m.turn.step for m in sent} == set(expected)
        assert all(torch.equal(m.turn.ids, expected[m.turn.step]) for m in sent)
    assert {m.turn.step for m in log.messages} == set(range(EPOCHS * 5))


@EACH
def test_parties_start_apart_with_streams_of_their_own(protocol: Protocol) -> None:
    run, _ = replay(protocol, SGD, "mlp")
    more, _ = replay(replace(protocol, clients=3), SGD, "mlp")
    starts = [flat(m.initial[0]) for m in run.cast.clients]
    assert all(not torch.equal(starts[i], starts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert all(
        torch.equal(s, flat(m.initial[0])) for s, m in zip(starts, more.cast.clients, strict=True)
    )
    rests = [flat(h.initial) for h in run.cast.servers]
    assert len(rests) == 1 or not torch.equal(*rests)


def test_the_first_party_keeps_what_fits_and_draws_anew_what_does_not() -> None:
    head = parts(2)[0]
    run, _ = replay(Vertical(clients=2), SGD)
    assert torch.equal(flat(run.cast.clients[0].initial[0]), flat(head))
    run, _ = replay(Vertical(clients=2), SGD, "mlp")
    fitted, whole = run.cast.clients[0].initial[0][1], parts(2, "mlp")[0][1]  # type: ignore[index]
    assert tuple(fitted.weight.shape) == (8, 18)
    assert not torch.equal(fitted.bias, whole.bias)


def test_vertical_sends_2p_values_of_every_party_s_width_and_no_labels() -> None:
    run, _ = replay(Vertical(clients=4), SGD)
    expected = {}
    for name, columns in (("client", 2), ("partner1", 2), ("partner2", 1), ("partner3", 1)):
        size = 8 * EPOCHS * N * 2 * 6 * columns
        expected[Link(name, "server", "smashed")] = size
        expected[Link("server", name, "smashed_grad")] = size
    assert run.cast.wire.bytes == expected


def test_extended_vanilla_adds_what_the_joining_client_sends() -> None:
    run, _ = replay(ExtendedVanilla(clients=2), SGD)
    widths = {("client", "hop"): 2 * 6 * 3, ("partner1", "hop"): 2 * 6 * 3, ("hop", "server"): 7}
    up = {Link(a, b, "smashed"): 8 * EPOCHS * N * q for (a, b), q in widths.items()}
    down = {Link(b, a, "smashed_grad"): 8 * EPOCHS * N * q for (a, b), q in widths.items()}
    assert run.cast.wire.bytes == up | down


def test_multi_task_sends_everything_once_per_task() -> None:
    run, _ = replay(MultiTask(clients=2), SGD)
    size = 8 * EPOCHS * N * 2 * 6 * 3
    assert run.cast.wire.bytes == {
        link: size
        for party in ("client", "partner1")
        for server in ("server", "server1")
        for link in (Link(party, server, "smashed"), Link(server, party, "smashed_grad"))
    }
