"""An attack in a process of its own: the same results, and no way back into the harness."""

import io
import pickle
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, final

import pytest
import torch
from support.apart import AsksWrongly, looped
from support.toys import victim
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import Attack
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.referee import isolated
from sltoolkit.referee.judge import judge
from sltoolkit.testing.cheats.attacks import FindsVictimInMemory, Honest, Toy
from sltoolkit.testing.judging import granted, view_for
from sltoolkit.testing.states import differences, tensors_of
from sltoolkit.testing.victims import home_of, trained
from sltoolkit.wire.frames import packed

CPU = torch.device("cpu")


@cache
def noisy() -> sl.Victim:
    return victim(sl.GaussianNoise(std=0.3))


AFTERWARDS = [kind for kind in ATTACKS.values() if issubclass(kind, Attack)]
QUICK = {sl.Decoder, sl.Shadow, sl.FirstLayer, sl.Direction}
"""Attacks whose views hold each kind of thing that is handed over."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in AFTERWARDS],
)
def test_what_is_handed_over_gives_the_same_outcome(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sltoolkit.referee.judge.run_isolated", looped)
    attack = kind.smoke()
    on = trained(home_of(attack), defended=True)
    here, there = (
        judge(on, attack, seed=3, grants=granted(attack), isolate=own) for own in (False, True)
    )
    assert differences(tensors_of(here.outcome), tensors_of(there.outcome)) == []
    assert (there.queries, there.isolated) == (here.queries, True)


@pytest.mark.parametrize("kind", [sl.Shadow, sl.Decoder])
def test_what_is_handed_over_holds_no_private_sample_and_no_weight(kind: type[Any]) -> None:
    on, attack = noisy(), kind.smoke()
    view = view_for(attack, on)
    order = isolated._written(attack, view, 3)
    secret: dict[str, Tensor] = {
        "train": on.data.private_train.x[0], "holdout": on.data.private_holdout.x[0],
        **on.client.client.state_dict(),
    }  # fmt: skip
    telling = [t for t in secret.values() if t.numel() > 4]
    assert len(telling) > 2
    assert not [t for t in telling if t.numpy().tobytes() in order]
    assert view.smashed.numpy().tobytes() in order


def test_of_a_tensor_only_what_it_shows_is_handed_over() -> None:
    whole = torch.arange(1000.0)
    shown = {"slice": whole[3:5], "weight": nn.Parameter(whole[3:5])}
    buffer = io.BytesIO()
    isolated._Pickler(buffer).dump(shown)
    back = pickle.loads(buffer.getvalue())
    assert all(torch.equal(back[name], t) for name, t in shown.items())
    assert isinstance(back["weight"], nn.Parameter)
    assert whole[5:9].numpy().tobytes() not in buffer.getvalue()


def test_what_cannot_be_handed_over_is_refused_in_a_sentence() -> None:
    @final
    @dataclass(frozen=True, kw_only=True)
    class Local(Toy):
        pass

    with pytest.raises(SpecError, match=r"Local can't run in a process .*top level of modules"):
        judge(noisy(), Local(), seed=0, isolate=True)


def test_a_query_that_fails_fails_as_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sltoolkit.referee.judge.run_isolated", looped)
    here, there = (judge(noisy(), AsksWrongly(), seed=3, isolate=own) for own in (False, True))
    assert differences(tensors_of(here.outcome), tensors_of(there.outcome)) == []


class Bomb:
    """What executes something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


LIES: dict[str, tuple[bytes, type[Exception], str]] = {
    "a pickle": (pickle.dumps(Bomb()), ProtocolError, "no frame"),
    "no kind": (packed({}, {}), ProtocolError, "Honest's own process sent what is no answer"),
    "another kind": (packed({"kind": "surprise"}, {}), ProtocolError, "what is no outcome"),
    "no outcome": (packed({"kind": "outcome", "type": "Popen"}, {}), ProtocolError, "no outcome"),
    "unready": (
        packed({"kind": "unready", "reason": "no module named mine"}, {}), SpecError,
        r"Honest can't run in a process of its own \(no module named mine\)",
    ),
    "an error": (
        packed({"kind": "error", "type": "SystemExit", "args": ["out"]}, {}), RuntimeError,
        "SystemExit: out",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "kind", "sentence"), LIES.values(), ids=LIES.keys())
def test_nothing_that_a_process_sends_is_executed(
    said: bytes, kind: type[Exception], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lying() -> Iterator[tuple[None, Connection]]:
        ours, theirs = (Connection(end.detach()) for end in socket.socketpair())
        with ours, theirs:
            theirs.send_bytes(said)
            yield None, ours

    monkeypatch.setattr(isolated, "_process", lying)
    with pytest.raises(kind, match=sentence):
        judge(noisy(), Honest(), seed=0, isolate=True)


def test_a_process_of_its_own_gives_the_same_row() -> None:
    one, two = (sl.attack(noisy(), sl.Decoder.smoke(), isolate=own) for own in (False, True))
    assert differences(tensors_of(one.outcome), tensors_of(two.outcome)) == []
    assert (one.verdict.isolated, two.verdict.isolated) == (False, True)
    differing = ["isolated", "seconds", "peak_mb"]
    assert one.rows().drop(columns=differing).equals(two.rows().drop(columns=differing))
    assert two.rows().isolated.all()


def test_the_victim_is_in_no_other_process_and_an_error_says_the_same_sentence() -> None:
    judge(noisy(), FindsVictimInMemory(), seed=0)  # in this process it finds the victim
    with pytest.raises(RuntimeError, match=r"^stack expects a non-empty TensorList$"):
        judge(noisy(), FindsVictimInMemory(), seed=0, isolate=True)


def test_a_process_that_ends_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(ProtocolError, match=r"Honest's own process ended .*exit code 7\)"):
        judge(noisy(), Honest(), seed=0, isolate=True)
