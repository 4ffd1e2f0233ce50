"""A victim from the disk is the victim that was stored, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sltoolkit import api, data
from sltoolkit.attacks import ATTACKS, Decoder, Norm, WhiteBox
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DISCO, DPActivations, GaussianNoise, NoPeek, RandomPruning
from sltoolkit.errors import StoreError
from sltoolkit.models import build
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.referee.judge import prepare
from sltoolkit.streams import Stream
from sltoolkit.training.checkpoint import (
    read_victim,
    restore_victim,
    save_victim,
    victim_record,
    victim_tensors,
)
from sltoolkit.training.victim import Victim

TARGETS = Targets(count=3, labels=16)
GRANTS = ("aux", "client_weights", "hints", "mechanism", "prior", "release")

KINDS: dict[str, tuple[Defense, Protocol, Any]] = {
    "undefended": (NoDefense(), Vanilla(labels_at="server"), "relu1"),
    "noise": (GaussianNoise(std=0.3), Vanilla(labels_at="server"), "relu1"),
    "dp": (DPActivations(), Vanilla(labels_at="server"), "relu1"),
    "pruning": (RandomPruning(), Vanilla(labels_at="server"), "relu1"),
    "disco": (DISCO(width=4), Vanilla(labels_at="server"), "relu1"),
    "chain": (
        Chain(NoPeek(), DISCO(width=4), GaussianNoise(std=0.1)), UShaped(), ["relu1", "fc2"]
    ),
    "clients": (
        DISCO(width=4), Vanilla(labels_at="server", clients=2, handover="none"), "relu1"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def split() -> Split:
    return data.load("digits", train=80, holdout=40, aux=40)


def trained(kind: str, split: Split, **changes: Any) -> tuple[Victim, dict[str, Any]]:
    defense, protocol, cut = KINDS[kind]
    arguments: dict[str, Any] = {
        "cut": cut, "protocol": protocol, "defense": defense, "seed": 3,
        "training": Training(epochs=2, lr=0.01, batch_size=16), "targets": TARGETS, **changes,
    }  # fmt: skip
    return api.train(model, split, **arguments), arguments


def model() -> torch.nn.Module:
    return build("lenet", shape=(1, 8, 8), classes=10, padding=2)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def guessed(outcome: Outcome) -> dict[str, Tensor]:
    return {k: v for k, v in vars(outcome).items() if isinstance(v, Tensor)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_victim_is_the_stored_one(kind: str, split: Split, tmp_path: Path) -> None:
    victim, arguments = trained(kind, split)
    prepare(victim, Decoder())
    path = tmp_path / "victim.safetensors"
    save_victim(victim, path)
    back = api.restored(path, model, split, **arguments)
    assert equal(victim_tensors(back), victim_tensors(victim))
    assert victim_record(back) == victim_record(victim)
    assert back.recipe == victim.recipe
    assert back.baseline_cache == victim.baseline_cache != {}
    learned = [name for m in back.deployed for name in m.defense.learned()]
    assert bool(learned) == ("disco" in kind or kind in ("chain", "clients"))
    x = split.private_holdout.x
    sent, again = (v.release(Stream(9))(x, repeats=2) for v in (victim, back))
    assert torch.equal(sent, again)
    for attack in (
        WhiteBox(steps=2, tv_weight=0.1, start="mean"),
        Decoder(steps=4, budget=0),
        Norm(),
    ):
        assert type(attack) in ATTACKS.values()
        one, two = (api.attack(v, attack, grants=GRANTS, seed=5) for v in (victim, back))
        assert guessed(one.outcome)
        assert equal(guessed(one.outcome), guessed(two.outcome))
        assert equal(dict(one.verdict.scores), dict(two.verdict.scores))
        assert one.verdict.baselines == two.verdict.baselines


def test_it_was_not_trained_again(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, arguments = trained("noise", split)
    path = tmp_path / "victim.safetensors"
    save_victim(victim, path)
    tensors = load_file(path)
    changed = {k: v + 1 if k.endswith("weight") else v for k, v in tensors.items()}
    _, record = read_victim(path)
    blank, _ = trained("noise", split, training=Training(epochs=0))
    back = restore_victim(blank, changed, record)
    assert equal(victim_tensors(back), changed)
    assert arguments["training"].epochs == back.recipe.epochs == 2


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "victim.safetensors"
    with pytest.raises(StoreError, match=r"victim\.safetensors can't be read .* delete it"):
        read_victim(path)
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(StoreError, match="delete it"):
        read_victim(path)
    save_file({"w": torch.zeros(1)}, path)  # tensors without their record
    with pytest.raises(StoreError, match="delete it"):
        read_victim(path)


def test_weights_of_another_network_are_refused(split: Split, tmp_path: Path) -> None:
    victim, arguments = trained("undefended", split)
    path = tmp_path / "victim.safetensors"
    save_victim(victim, path)
    with pytest.raises(StoreError, match="doesn't fit its plan"):
        api.restored(path, model, split, **{**arguments, "cut": "fc1"})


def test_a_victim_that_an_older_version_stored_is_refused(split: Split, tmp_path: Path) -> None:
    victim, _ = trained("undefended", split)
    untrained, _ = trained("undefended", split, training=Training(epochs=0))
    record = victim_record(victim)
    older: list[dict[str, Any]] = [
        {"facts": {}}, {"recipe": {**record["recipe"], "victim_seed": 3}},
    ]  # fmt: skip
    for old in older:
        stored = {k: v for k, v in record.items() if k != "recipe"} | old
        with pytest.raises(StoreError, match="delete it"):
            restore_victim(untrained, victim_tensors(victim), stored)
