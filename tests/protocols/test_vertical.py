"""Vertical split learning against one network trained whole, in float64."""

import pytest
import torch
from support.feature_blocks import MERGED, check_uneven_blocks_equal_the_monolith, replay
from support.feature_networks import Monolith, Style, merged, parts, play_parts, schedule, weights
from support.tiny import ADAM, EPOCHS, MOMENTUM, SGD, N, close, data
from torch import Tensor, nn

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Vanilla, Vertical
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


@MERGED
def test_the_deployed_path_is_the_monolith_in_evaluation_mode(merge: MergeName) -> None:
    run, log = replay(Vertical(clients=2, merge=merge), SGD)
    whole = Monolith(run, merge).learn(schedule(log), SGD)
    (member,), server = deploy(run)
    x = data().private_holdout.x
    z, sent = member.smash(x, Stream(3))
    assert torch.equal(z, sent)
    close(server(sent), whole(x))


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


def test_vertical_sends_2p_values_of_every_party_s_width_and_no_labels() -> None:
    run, _ = replay(Vertical(clients=4), SGD)
    expected = {}
    for name, columns in (("client", 2), ("partner1", 2), ("partner2", 1), ("partner3", 1)):
        size = 8 * EPOCHS * N * 2 * 6 * columns
        expected[Link(name, "server", "smashed")] = size
        expected[Link("server", name, "smashed_grad")] = size
    assert run.cast.wire.bytes == expected


@pytest.mark.parametrize("style", ["conv", "mlp"])
def test_uneven_blocks_side_by_side_equal_the_monolith(style: Style) -> None:
    check_uneven_blocks_equal_the_monolith(Vertical(clients=4), style)
