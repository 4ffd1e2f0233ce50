"""Vertical, extended vanilla and multi-task against one network trained whole, in float64."""

from dataclasses import replace

import pytest
import torch
from family import Monolith, Style, merged, parts, play_parts, schedule, weights
from tiny import ADAM, EPOCHS, MOMENTUM, SGD, Log, N, close, data, flat, play
from torch import Tensor, nn

from sltoolkit.casting import Run
from sltoolkit.contracts import Defense, NoDefense
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.models.refit import refit
from sltoolkit.protocols import ExtendedVanilla, MultiTask, Protocol, Vanilla, Vertical
from sltoolkit.protocols.merging import MERGES, ImputeName, MergeName
from sltoolkit.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training import deploy
from sltoolkit.wire import Link

MERGED = pytest.mark.parametrize("merge", list(MERGES))
FAMILY: list[Protocol] = [Vertical(clients=3), ExtendedVanilla(clients=3), MultiTask(clients=3)]
EACH = pytest.mark.parametrize("protocol", FAMILY, ids=["vertical", "extended", "multi_task"])


def replay(protocol: Protocol, training: Training, style: Style = "conv") -> tuple[Run, Log]:
    return play_parts(protocol, parts(protocol.parts, style), training)


# ---- equal to the monolith -----------------------------------------------------------------------


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


# ---- gradients -----------------------------------------------------------------------------------


def owed(merge: MergeName, k: int, zs: list[Tensor], g: Tensor) -> Tensor:
    """What party k receives where `g` is the gradient at the merged data."""
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


# ---- schedule, start, bytes ----------------------------------------------------------------------


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
    starts = [flat(m.blank[0]) for m in run.cast.clients]
    assert all(not torch.equal(starts[i], starts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert all(
        torch.equal(s, flat(m.blank[0])) for s, m in zip(starts, more.cast.clients, strict=True)
    )
    rests = [flat(h.blank) for h in run.cast.servers]
    assert len(rests) == 1 or not torch.equal(*rests)


def test_the_first_party_keeps_what_fits_and_draws_anew_what_does_not() -> None:
    head = parts(2)[0]
    run, _ = replay(Vertical(clients=2), SGD)
    assert torch.equal(flat(run.cast.clients[0].blank[0]), flat(head))
    run, _ = replay(Vertical(clients=2), SGD, "mlp")
    fitted, whole = run.cast.clients[0].blank[0][1], parts(2, "mlp")[0][1]  # type: ignore[index]
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


# ---- parties that stay away ----------------------------------------------------------------------


def oracle_with_absences(run: Run, log: Log, impute: str) -> tuple[Tensor, list[int]]:
    """The monolith trained where the log says who was there; how often each party was."""
    whole = Monolith(run)
    optimizers = [MOMENTUM.optimizer_for(part) for part in (*whole.heads, whole.rest())]
    samples = data().private_train
    names = ["client", "partner1", "partner2"]
    there = {(m.src.name, m.turn.step) for m in log.messages if m.kind == "smashed"}
    sent: dict[int, list[Tensor]] = {0: [], 1: [], 2: []}
    for step, ids in enumerate(log.batches()):
        x, y = samples.x[ids - 1000], samples.y[ids - 1000]
        zs = []
        for k, block in enumerate(whole.blocks(x)):
            if (names[k], step) in there:
                zs.append(whole.heads[k](block))
                sent[k].append(zs[k].detach().clone())
                continue
            z = torch.zeros(len(ids), 2, 6, 2, dtype=torch.float64)
            zs.append(z + torch.cat(sent[k]).mean(0) if impute == "mean" and sent[k] else z)
        loss = nn.functional.cross_entropy(whole.rest()(torch.cat(zs, -1)), y)
        whole.zero_grad(set_to_none=True)
        loss.backward()
        for k, optimizer in enumerate(optimizers):
            if optimizer is not None and (k == 3 or (names[k], step) in there):
                optimizer.step()
    return whole.weights(), [len(s) for s in sent.values()]


@pytest.mark.parametrize("impute", ["zeros", "mean"])
def test_missing_parties_are_imputed_and_learn_nothing(impute: ImputeName) -> None:
    run, log = replay(Vertical(clients=3, absent=0.5, impute=impute), MOMENTUM)
    expected, counts = oracle_with_absences(run, log, impute)
    assert counts[0] == EPOCHS * 5
    assert all(0 < count < EPOCHS * 5 for count in counts[1:])
    close(weights(run), expected)
    for name in ("client", "partner1", "partner2"):
        answered = [m for m in log.sent("smashed_grad", "server") if m.dst.name == name]
        asked = log.sent("smashed", name)
        assert [m.turn.step for m in answered] == [m.turn.step for m in asked]


def test_imputations_differ_and_who_never_comes_never_changes() -> None:
    zeros, _ = replay(Vertical(clients=3, absent=0.5), SGD)
    means, _ = replay(Vertical(clients=3, absent=0.5, impute="mean"), SGD)
    assert not torch.allclose(weights(zeros), weights(means), atol=1e-6)
    away, log = replay(Vertical(clients=3, absent=1.0), MOMENTUM)
    assert {m.src.name for m in log.messages} == {"client", "server"}
    for k in (1, 2):
        start, end = away.cast.clients[k].blank[0], away.cast.clients[k].party.module
        assert torch.equal(flat(start), flat(end))
    assert bool(weights(away).isfinite().all())


@MERGED
def test_without_absences_the_draws_change_nothing(
    merge: MergeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = replay(Vertical(clients=3, merge=merge, impute="mean"), ADAM)
    monkeypatch.setattr(Vertical, "_present", lambda self, rng: range(self.clients))
    plain, _ = replay(Vertical(clients=3, merge=merge), ADAM)
    assert torch.equal(weights(run), weights(plain))


# ---- errors before training ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [Vertical, ExtendedVanilla, MultiTask])
def test_more_clients_than_features_are_refused(
    make: type[Vertical] | type[ExtendedVanilla] | type[MultiTask],
) -> None:
    with pytest.raises(ProtocolError, match="7 clients can't share 6 features"):
        replay(make(clients=7), SGD)
    with pytest.raises(ProtocolError, match="0 clients"):
        replay(make(clients=0), SGD)


@pytest.mark.parametrize("merge", ["sum", "mean", "max", "mul"])
def test_unequal_blocks_can_only_be_concatenated(merge: MergeName) -> None:
    with pytest.raises(
        ProtocolError, match=r"merge='\w+' needs smashed data of one shape.*2, 2, 1"
    ):
        replay(Vertical(clients=4, merge=merge), SGD)


@EACH
def test_the_wrong_number_of_parts_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ProtocolError, match=f"needs the network in {protocol.parts} parts"):
        play_parts(protocol, parts(4), SGD)


def test_networks_that_were_trained_whole_are_not_dealt_out() -> None:
    with pytest.raises(ProtocolError, match=r"must be trained: train\(\.\.\.\) it"):
        play_parts(Vertical(), parts(2), None)
    run, _ = play_parts(Vertical(clients=1), parts(2), None)
    assert torch.equal(flat(run.cast.clients[0].party.module), flat(parts(2)[0]))


def test_settings_are_checked() -> None:
    for wrong in ({"merge": "min"}, {"impute": "median"}, {"absent": 1.5}, {"absent": -0.1}):
        with pytest.raises(SpecError, match=f"protocol.{next(iter(wrong))} must be"):
            Vertical(**wrong)
    with pytest.raises(SpecError, match="no task is called 'colour'"):
        MultiTask(tasks=("class", "colour"))
    for tasks in ((), ("parity", "class")):
        with pytest.raises(SpecError, match="must begin with 'class'"):
            MultiTask(tasks=tasks)


def test_refit_changes_linear_layers_only_and_restores_the_mode() -> None:
    x = torch.rand(2, 1, 6, 3)
    wide, last = nn.Linear(32, 4), nn.Linear(4, 2)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), wide, last)
    state = torch.get_rng_state()
    fitted = refit(net, x, Stream(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert fitted.training
    assert fitted(x).shape == (2, 2)
    assert isinstance(fitted, nn.Sequential)
    assert (wide.in_features, wide.weight.shape) == (32, (4, 32))
    assert fitted[2].weight.shape == (4, 8)
    assert torch.equal(flat(fitted[0], fitted[3]), flat(net[0], last))
    assert torch.equal(flat(refit(net, x, Stream(0))), flat(fitted))
    assert not torch.equal(flat(refit(net, x, Stream(1))), flat(fitted))
    with pytest.raises(SpecError, match="can't take inputs of shape 1x6x2"):
        refit(net, x[..., :2], Stream(0))
    with pytest.raises(SpecError, match="can't take inputs of shape 2x6x3"):
        refit(net, x.expand(2, 2, 6, 3), Stream(0))


def test_no_defence_is_bit_identical_to_the_seams_doing_nothing() -> None:
    plain = play_parts(Vertical(clients=3), parts(2), ADAM, defense=NoDefense())[0]
    seams = play_parts(Vertical(clients=3), parts(2), ADAM, defense=Defense())[0]
    assert torch.equal(weights(plain), weights(seams))
