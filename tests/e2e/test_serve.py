"""Parties in separate processes: the same weights, bytes and messages as in one; and faults."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.serving import heard, scribes, seated

from sltoolkit import api
from sltoolkit.bench.recipes import arguments
from sltoolkit.bench.spec import load_spec
from sltoolkit.serve.recipe import recipe_of
from sltoolkit.serve.state import ProcessState
from sltoolkit.training.cast import Clock
from sltoolkit.training.phases import run_phases
from sltoolkit.wire.message import Toll, tolls_from

SCRIPT = Path(__file__).parents[1] / "support" / "serving.py"
PROCESSES = 3
CASES: dict[str, dict[str, Any]] = {
    "vanilla": {"protocol": {"name": "vanilla"}, "listen": True},
    "vanilla batch by batch": {"protocol": {"name": "vanilla", "turns": "batch"}},
    "vanilla through the server": {"protocol": {"name": "vanilla", "handover": "server"}},
    "vanilla without hand-over": {"protocol": {"name": "vanilla", "handover": "none"}},
    "vanilla, labels at the server": {
        "protocol": {"name": "vanilla", "labels_at": "server"}, "listen": True,
    },
    "vanilla with noise": {"protocol": {"name": "vanilla"}, "defense": "gaussian_noise"},
    "vanilla with disco": {"protocol": {"name": "vanilla"}, "defense": "disco"},
    "u_shaped": {"protocol": {"name": "u_shaped"}, "listen": True, "optimizer": "sgd"},
    "splitfed_v1": {"protocol": {"name": "splitfed_v1"}, "listen": True},
    "splitfed_v1 with drop-outs": {
        "protocol": {"name": "splitfed_v1", "dropout": 0.5, "participation": 0.6}
    },
    "splitfed_v2": {"protocol": {"name": "splitfed_v2"}},
    "splitfed_v3": {"protocol": {"name": "splitfed_v3"}},
    "blind_learning": {"protocol": {"name": "blind_learning"}},
    "local_loss": {"protocol": {"name": "local_loss"}},
    "fedavg": {"protocol": {"name": "fedavg", "local_epochs": 2}},
    "large_batch_sgd": {"protocol": {"name": "large_batch_sgd"}},
    "vertical": {"protocol": {"name": "vertical", "absent": 0.3, "impute": "mean"}, "listen": True},
    "multi_hop": {"protocol": {"name": "multi_hop", "clients": 1}},
    "multi_task": {"protocol": {"name": "multi_task", "clients": 1}},
    "extended_vanilla": {"protocol": {"name": "extended_vanilla", "clients": 1}},
    "states handed over": {
        "protocol": {"name": "vanilla", "optimizer_state": True, "turns": "batch"}
    },
    "states handed over through the server": {
        "protocol": {"name": "u_shaped", "optimizer_state": True, "handover": "server"},
        "optimizer": "sgd", "momentum": 0.9,
    },
    "states of a stateless optimizer": {
        "protocol": {"name": "u_shaped", "optimizer_state": True}, "optimizer": "sgd"
    },
    "half": {"protocol": {"name": "vanilla"}, "reducer": {"name": "half"}, "listen": True},
    "quantize": {
        "protocol": {"name": "u_shaped"}, "listen": True,
        "reducer": {"name": "quantize", "bits": 3, "kinds": ["smashed", "weights"]},
    },
    "top_k with feedback": {
        "protocol": {"name": "vanilla", "handover": "server", "turns": "batch"}, "listen": True,
        "reducer": {
            "name": "top_k", "fraction": 0.3, "kinds": ["smashed", "smashed_grad", "weights"],
        },
    },
    "top_k of averaged weights": {
        "protocol": {"name": "splitfed_v1"},
        "reducer": {"name": "top_k", "fraction": 0.3, "kinds": ["smashed", "weights"]},
    },
    "bf16 gradients of weights": {
        "protocol": {"name": "large_batch_sgd"},
        "reducer": {"name": "half", "format": "bf16", "kinds": ["weights"]},
    },
}  # fmt: skip


def with_clients(case: dict[str, Any]) -> dict[str, Any]:
    return {**case, "protocol": {"clients": PROCESSES - 1, **case["protocol"]}}


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, its output, and seconds after the first process's end."""

    code: int
    err: str
    seconds: float


def launch(folder: Path, cases: list[dict[str, Any]], *, timeout: float) -> list[Ended]:
    """Serve the cases, one after the other, with one process per party."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    job = folder / "job.json"
    job.write_text(json.dumps({"cases": cases, "timeout": timeout}))
    env = os.environ | {
        "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2]),
    }  # fmt: skip
    subprocess.run([sys.executable, str(SCRIPT), str(job)], env=env, check=True)
    ended = json.loads((folder / "ended.json").read_text())
    return [Ended(err=(folder / f"{r}.err").read_text(), **e) for r, e in enumerate(ended)]


def in_process(case: dict[str, Any]) -> tuple[dict[str, torch.Tensor], Counter[Toll], list[str]]:
    """Weights, bytes, and hashes of what was heard, of the same run in this process."""
    run, epochs = seated(case)
    links = scribes(run) if case.get("listen") else []
    run.cast.wire = run.cast.wire.with_ears([ear for _, ear in links])
    run_phases(run, epochs)
    return ProcessState(run, Clock()).weights(), run.cast.wire.tolls, heard(links)


def assert_same(
    found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], name: str = ""
) -> None:
    assert found.keys() == expected.keys()
    assert [n for n in expected if not torch.equal(found[n], expected[n])] == [], name


def found_in(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of all processes; no two have the same ones."""
    found: dict[str, torch.Tensor] = {}
    for r in range(PROCESSES):
        mine = load_file(folder / f"rank-{r}.safetensors")
        assert not found.keys() & mine.keys()
        found |= mine
    return found


def test_in_processes_all_is_as_in_one(tmp_path: Path) -> None:
    """One test, because starting processes takes far longer than what they do."""
    cases = {
        name: {**with_clients(case), "out": str(tmp_path / name)} for name, case in CASES.items()
    }
    for name in cases:
        (tmp_path / name).mkdir()
    said = launch(tmp_path, list(cases.values()), timeout=60)
    assert [process.code for process in said] == [0] * PROCESSES, said
    for name, case in cases.items():
        weights, tolls, hashes = in_process(case)
        assert_same(found_in(tmp_path / name), weights, name)
        sent = 0
        for r in range(PROCESSES):
            facts = json.loads((tmp_path / name / f"rank-{r}.json").read_text())
            assert tolls_from(facts["bytes"]) == tolls, name
            sent += facts["sent_bytes"]
        # the fed server is in the server's process, so their messages need no transport
        assert sent == sum(tolls.values()), name
        if hashes:
            assert json.loads((tmp_path / name / "heard.json").read_text()) == hashes, name


MORTAL: dict[str, Any] = with_clients({
    "protocol": {"name": "vanilla", "optimizer_state": True}, "epochs": 3, "batch_size": 4,
    "listen": True,
    "reducer": {"name": "top_k", "fraction": 0.3, "kinds": ["smashed_grad", "weights"]},
})  # fmt: skip
ALONE = 70  # messages of client[1] in an epoch and a half


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_run_resumes(tmp_path: Path) -> None:
    died = {**MORTAL, "out": str(tmp_path), "faults": [[2, ALONE, signal.SIGKILL]]}
    said = launch(tmp_path, [died], timeout=60)
    assert said[2].code == -signal.SIGKILL
    for process in said[:2]:
        assert process.code == 1
        assert "error: client[1]: the connection to it is lost" in process.err
        assert "Traceback" not in process.err
        assert process.seconds < 10  # long before the timeout
    assert not list(tmp_path.glob("rank-?.safetensors"))

    again = {**MORTAL, "out": str(tmp_path), "resume": True, "listen": False}
    stalled = {**MORTAL, "out": str(tmp_path / "other"), "faults": [[2, ALONE, signal.SIGSTOP]]}
    (tmp_path / "other").mkdir()
    said = launch(tmp_path, [again, stalled], timeout=3)
    weights, tolls, _ = in_process(MORTAL)
    assert_same(found_in(tmp_path), weights)
    facts = json.loads((tmp_path / "rank-0.json").read_text())
    assert tolls_from(facts["bytes"]) == tolls
    assert facts["resumed_after"] == 1
    for process in said[:2]:
        assert process.code == 1
        assert "error: client[1]: stalled" in process.err
        assert "Traceback" not in process.err


@pytest.mark.slow
def test_a_process_that_is_gone_before_it_is_connected_is_named(tmp_path: Path) -> None:
    said = launch(tmp_path, [{**MORTAL, "out": str(tmp_path), "gone": 1}], timeout=4)
    assert said[1].code == 3
    for process in (said[0], said[2]):
        assert process.code == 1
        assert "error: client: stalled" in process.err
        assert "Traceback" not in process.err
        assert process.seconds < 12


SPEC = """
seeds = [0]
data = {name = "digits", train = 200, holdout = 50, aux = 50}
model = {name = "mlp"}
protocol = {name = "vanilla", clients = 2}
training = {epochs = 2}
reducer = {name = "half"}
attack = [{name = "decoder"}]
"""


@pytest.mark.slow
def test_torchrun_serves_a_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    command = "-m torch.distributed.run --standalone --nproc-per-node 3 -m sltoolkit.serve"
    ended = subprocess.run(
        [sys.executable, *command.split(), "spec.toml", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    recipe = recipe_of(load_spec(tmp_path / "spec.toml"))
    victim = api.train(**arguments(recipe))
    facts = json.loads((tmp_path / "out" / "rank-0.json").read_text())
    assert facts["losses"] == list(victim.losses)
    served = load_file(tmp_path / "out" / "rank-0.safetensors")
    for name, value in victim.server.state_dict().items():
        assert torch.equal(served[f"server.{name}"], value)
