"""What a process keeps and forgets, and what it refuses."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.distributed as dist
from support.serving import run_of, seated
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from sltoolkit.bench.spec import load_spec
from sltoolkit.errors import SpecError
from sltoolkit.serve.__main__ import placed
from sltoolkit.serve.placeholders import homes_of, keep_local
from sltoolkit.serve.process import process_at, run_process
from sltoolkit.serve.recipe import recipe_of
from sltoolkit.serve.state import Checkpoints, ProcessState
from sltoolkit.serve.transport import connect
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.run import Run
from sltoolkit.wire.codec import Carry, Codec, Content, Sent
from sltoolkit.wire.message import SERVER, Seat
from sltoolkit.wire.reducers import TopK
from sltoolkit.wire.wire import Wire

ROUTE = (Seat("client", 1), SERVER, "weights", "0.weight")
SPEC: dict[str, Any] = {
    "seeds": [3, 4], "data": {"name": "digits"}, "model": {"name": "mlp"},
    "attack": [{"name": "decoder"}],
}  # fmt: skip


def weights(run: Run, k: int) -> list[Tensor]:
    return list(run.cast.clients[k].party.module.parameters())


def test_a_client_keeps_its_own_samples_and_nobody_elses() -> None:
    run = run_of()
    mine = run.cast.clients[1].samples
    keep_local(run, {Seat("client", 1)})
    kept, other = run.cast.clients[1].samples, run.cast.clients[0].samples
    assert torch.equal(kept.x, mine.x)
    assert torch.equal(kept.y, mine.y)
    assert kept.x.untyped_storage().nbytes() == kept.x.nbytes  # no view of all samples
    assert other.x.is_meta
    assert other.y.is_meta
    assert len(run.data.private_train) == 0
    assert all(w.is_meta for w in weights(run, 0))
    assert not any(w.is_meta for w in weights(run, 1))


def test_the_server_keeps_no_samples_but_the_labels_where_it_owns_them() -> None:
    run = run_of()
    keep_local(run, {SERVER})
    assert all(m.samples.x.is_meta and m.samples.y.is_meta for m in run.cast.clients)
    run = run_of(labels_at="server")
    labels = [m.samples.y for m in run.cast.clients]
    keep_local(run, {SERVER})
    assert all(m.samples.x.is_meta for m in run.cast.clients)
    assert all(torch.equal(m.samples.y, y) for m, y in zip(run.cast.clients, labels, strict=True))


def test_where_the_server_owns_the_labels_a_client_has_none() -> None:
    run = run_of(labels_at="server")
    keep_local(run, {Seat("client", 0)})
    assert all(m.samples.y.is_meta for m in run.cast.clients)
    assert not run.cast.clients[0].samples.x.is_meta


def test_every_seat_has_a_home_and_the_fed_server_lives_with_the_server() -> None:
    homes = homes_of(run_of(name="splitfed_v1").cast)
    assert homes == {SERVER: 0, Seat("fed"): 0, Seat("client", 0): 1, Seat("client", 1): 2}
    run, _ = seated({"protocol": {"name": "multi_task", "clients": 1}})
    assert homes_of(run.cast)[Seat("server1")] == 2


def test_an_optimizers_state_that_is_not_made_of_tensors_cannot_be_handed_over() -> None:
    run = run_of(optimizer_state=True)
    for member in run.cast.clients:
        optimizer, first = member.party.optimizer, member.party.weights[0]
        assert optimizer is not None
        optimizer.register_step_post_hook(lambda o, *_, w=first: o.state[w].update(phase="late"))
    with pytest.raises(SpecError, match="optimizer_state: the state of Adam, which keeps phase as"):
        keep_local(run, {SERVER})


def test_an_absent_optimizer_has_a_state_once_the_real_one_has(tmp_path: Path) -> None:
    run = run_of(optimizer_state=True)
    keep_local(run, {SERVER})
    placeholder = run.cast.clients[0].party
    assert placeholder.optimizer is not None
    assert placeholder.optimizer.state_dict()["state"] == {}
    run.cast.learn(True)
    z = placeholder.forward(run.cast.clients[0].samples.x[:4])
    placeholder.update(z, torch.empty_like(z), extra=None)
    state = placeholder.optimizer.state_dict()["state"]
    assert len(state) == len(placeholder.weights)
    assert all(t.is_meta for slots in state.values() for t in slots.values())
    Checkpoints(tmp_path, 0, "plan").save(ProcessState(run, Clock(epoch=1)))
    other = run_of(optimizer_state=True)
    keep_local(other, {SERVER})
    Checkpoints(tmp_path, 0, "plan").load(ProcessState(other, Clock()), 1)
    again = [m.party.optimizer for m in other.cast.clients]
    assert [bool(o and o.state_dict()["state"]) for o in again] == [True, False]


def test_no_process_keeps_samples_alive_that_are_not_its_own() -> None:
    run = run_of()
    whole = (
        run.data.private_train.x.untyped_storage().data_ptr()
    )  # the memory of all parts of the data
    own = run.cast.clients[1].samples.x.clone()
    keep_local(run, {Seat("client", 1)})
    assert torch.equal(run.cast.clients[1].samples.x, own)
    gc.collect()
    tensors = [t for t in gc.get_objects() if type(t) is Tensor and not t.is_meta]
    assert not [t for t in tensors if t.untyped_storage().data_ptr() == whole]


@pytest.mark.parametrize(
    "protocol", [{}, {"name": "splitfed_v3"}, {"name": "u_shaped"}, {"name": "multi_hop"}]
)
def test_no_process_can_draw_what_others_draw(protocol: dict[str, Any]) -> None:
    def streams(run: Run) -> dict[str, Stream]:
        owners = {f"client {k}": m.party.rng for k, m in enumerate(run.cast.clients)}
        owners |= {f"noise {k}": m.rng for k, m in enumerate(run.cast.clients)}
        hosts = [*run.cast.hops, *run.cast.servers]
        return owners | {f"host {k}": h.rng for k, h in enumerate(hosts)}

    whole, run = run_of(**protocol), run_of(**protocol)
    keep_local(run, {Seat("client", 1)})
    before, after = streams(whole), streams(run)
    same = {name for name in before if before[name].seed == after[name].seed}
    assert same == {"client 1", "noise 1"}
    assert run.cast.rng.seed == whole.cast.rng.seed
    orders = [[m.order.seed for m in each.cast.clients] for each in (whole, run)]
    assert orders[0] == orders[1]
    for root in (run.rng, run.rng.child("client0")):
        with pytest.raises(RuntimeError, match="forgotten"):
            root.fresh("defense")


def ends(codecs: Sequence[Codec], t: Tensor, content: Content) -> list[Sent]:
    """A message as its sender, its receiver and a third process see it."""
    parts: list[Tensor] = []

    def gone(part: Tensor) -> Tensor:
        parts.append(part.clone())
        return part.to("meta")

    def come(part: Tensor) -> Tensor:
        assert (part.shape, part.dtype) == (parts[0].shape, parts[0].dtype)
        return parts.pop(0)

    carries: list[Carry] = [gone, come, torch.clone]
    blank = t.to("meta")
    return [
        codec.send(seen, route=ROUTE, content=content, carry=carry)
        for codec, seen, carry in zip(codecs, (t, blank, blank), carries, strict=True)
    ]


def restored(codec: Codec, folder: Path) -> Codec:
    """A codec that went through a checkpoint."""
    folder.mkdir()
    run, other = run_of(), run_of()
    run.cast.wire, other.cast.wire = Wire(codec=codec), Wire(codec=codec.reducer.begin())
    Checkpoints(folder, 0, "plan").save(ProcessState(run, Clock(epoch=1)))
    Checkpoints(folder, 0, "plan").load(ProcessState(other, Clock()), 1)
    again = other.cast.wire.codec
    assert again is not None
    return again


@pytest.mark.parametrize("content", get_args(Content))
def test_in_three_processes_a_codec_does_as_in_one_also_after_a_checkpoint(
    tmp_path: Path, content: Content
) -> None:
    reducer = TopK(fraction=0.3)
    alone, apart = reducer.begin(), [reducer.begin() for _ in range(3)]
    for i in range(5):
        if i == 2:
            apart = [restored(codec, tmp_path / str(n)) for n, codec in enumerate(apart)]
        t = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(i))
        expected = alone.send(t, route=ROUTE, content=content)
        sender, receiver, third = ends(apart, t, content)
        assert torch.equal(sender.received, expected.received)
        assert torch.equal(receiver.received, expected.received)
        assert third.received.is_meta
        assert [s.nbytes for s in (sender, receiver, third)] == [expected.nbytes] * 3
        assert [s.here for s in (sender, receiver, third)] == [False, True, False]
    assert apart[0].errors == alone.errors
    assert apart[1].errors == {}  # a receiver doesn't know what was sent
    kept = [codec.state_dict().get(ROUTE, {}).get("memory") for codec in apart]
    numbers = [t is not None and not t.is_meta for t in kept]
    assert numbers == {
        "samples": [False, False, False], "update": [True, False, False],
        "state": [True, True, False],
    }[content]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "gpus", "local", "expected"),
    [
        ("cpu", 8, 3, (False, "cpu")),
        ("cuda", 3, 3, (True, "cuda:2")),
        ("cuda", 2, 3, (False, "cuda:0")),
        ("cuda", 0, 3, (False, "cuda")),
    ],
)
def test_a_process_has_its_own_gpu_where_there_are_enough(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, local: int, expected: tuple[bool, str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    process, where = placed(process_at(HashStore(), 2, 3, 5.0), device)
    assert (process.gpu, str(where)) == expected


@pytest.mark.parametrize(
    ("here", "backends"), [("gpu", ["gloo", "nccl"]), ("cpu", ["gloo"])], ids=["all", "not all"]
)
def test_nccl_is_used_where_all_processes_have_a_gpu_and_not_where_one_has_none(
    monkeypatch: pytest.MonkeyPatch, here: str, backends: list[str]
) -> None:
    store, made = HashStore(), []
    store.set("here/1", here)
    process = process_at(store, 0, 2, 5.0)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: made.append(backend))
    monkeypatch.setattr(dist, "new_group", lambda backend, **_: made.append(backend))
    connect(0, 2, process.store, process.liveness, gpu=True)
    process.liveness.close(failed=False)
    assert made == backends


def test_a_wrong_number_of_processes_is_refused_with_the_right_one(tmp_path: Path) -> None:
    process = process_at(HashStore(), 0, 2, 5.0)
    with pytest.raises(SpecError, match="needs 3 processes, one for each of server, client, "):
        run_process(process, run_of(), epochs=1, out=tmp_path, plan={})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sweep": {"training.lr": [0.1]}}, "sweeps training.lr"),
        ({"defense": [{"name": "none"}, {"name": "gaussian_noise"}]}, "one run can be served"),
    ],
)
def test_a_spec_of_several_runs_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        recipe_of(load_spec({**SPEC, **change}))


def test_the_first_seed_of_a_spec_is_served() -> None:
    assert recipe_of(load_spec(SPEC))["seed"] == 3
