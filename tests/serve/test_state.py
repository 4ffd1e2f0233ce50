"""The checkpoints of a process: what comes back, and what is refused."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.serving import run_of, seated

from sltoolkit.errors import SpecError, StoreError
from sltoolkit.serve.state import Checkpoints, ProcessState, check_resumable
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock


def test_a_defense_with_a_state_of_its_own_cannot_be_resumed() -> None:
    run, _ = seated({"protocol": {"name": "vanilla"}, "defense": "disco"})
    with pytest.raises(SpecError, match="DISCO keeps a state of its own"):
        check_resumable(run)
    run, _ = seated({"protocol": {"name": "vanilla"}, "defense": "gaussian_noise"})
    check_resumable(run)


def test_a_checkpoint_restores_weights_optimizers_and_streams(tmp_path: Path) -> None:
    run = run_of()
    state, kept = ProcessState(run, Clock()), Checkpoints(tmp_path, 0, "plan")
    for _ in range(3):
        run.cast.learn(True)
        run.protocol.epoch(run.cast, state.clock, "train")
        state.clock.epoch += 1
        kept.save(state)
    assert kept.epochs() == [2, 3]
    assert not list(tmp_path.glob("*.partial"))

    other = run_of()
    again = ProcessState(other, Clock())
    kept.load(again, 2)
    assert again.clock.epoch == 2
    other.cast.learn(True)
    other.protocol.epoch(other.cast, again.clock, "train")
    again.clock.epoch += 1
    expected, found = state.tensors(), again.tensors()
    assert any(name.startswith("optimizer/") for name in expected)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert again.tolls == state.tolls


def test_another_runs_checkpoint_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    state = ProcessState(run_of(), Clock(epoch=1))
    Checkpoints(tmp_path, 0, "plan").save(state)
    with pytest.raises(StoreError, match="belongs to another experiment"):
        Checkpoints(tmp_path, 0, "other").load(state, 1)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreError, match="can't be read"):
        Checkpoints(tmp_path, 0, "plan").load(state, 1)


def test_a_stream_goes_on_from_its_state_in_json() -> None:
    def draws(stream: Stream) -> list[Any]:
        named = stream.child("a").torch()
        with stream.child("b").scope():
            scoped = [torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()]
        return [torch.rand(3, generator=named).tolist(), stream.numpy().random(2).tolist(), scoped]

    stream = Stream(5)
    draws(stream)
    state = json.loads(json.dumps(stream.state()))
    other = Stream(5)
    other.restore(copy.deepcopy(state))
    assert draws(other) == draws(stream)
    assert draws(Stream(5)) != draws(stream)
