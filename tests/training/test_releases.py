"""Releases of a record are counted on the wire, and stated with every attack."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.feature_victims import cut_of, digits
from support.feature_victims import network as whole
from support.scripted_attacks import Says, mean_of_aux
from support.toys import CUT, GRANTS, QUICK, TARGETS, network, split
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.api import restored
from sltoolkit.contracts.defense import Defense
from sltoolkit.protocols import Protocol
from sltoolkit.rows.build import verdict_columns
from sltoolkit.training import casting
from sltoolkit.training.checkpoint import save_victim
from sltoolkit.wire.turn import Turn

PRIVATE = sl.DPActivations(epsilon=2.0)


def trained(epochs: int = 1, **options: Any) -> sl.Victim:
    given = {"defense": PRIVATE, "targets": TARGETS, "training": sl.Training(epochs=epochs)}
    return sl.train(network, split(), cut=CUT, **{**given, **options})


def row_of(victim: sl.Victim, attack: Any = None, **options: Any) -> Any:
    return sl.attack(victim, attack or Says(answer=mean_of_aux), **options).rows().iloc[0]


def stated(releases: int, defense: Defense = PRIVATE) -> float:
    found = defense.guarantee(releases=releases, delta=1e-5)
    assert found is not None
    return found.epsilon


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize(
    "protocol", [sl.Vanilla(), sl.Vanilla(clients=3), sl.SplitFedV1(clients=2)]
)
def test_every_epoch_is_a_release_of_each_record(epochs: int, protocol: Protocol) -> None:
    victim = trained(epochs, protocol=protocol)

    assert victim.releases_heard["server"] == epochs
    assert victim.releases_heard["eavesdropper"] == epochs


@pytest.mark.parametrize("seed", [0, 1])
def test_a_record_that_is_dealt_out_again_is_released_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: Counter[int] = Counter()
    smash = sl.DPActivations.smash

    def counting(self: sl.DPActivations, z: Tensor, turn: Turn) -> Tensor:
        if turn.phase == "train":
            sent.update(turn.ids.tolist())
        return smash(self, z, turn)

    for check in ("refuse_mixing", "refuse_shared_noise"):  # these send nothing
        monkeypatch.setattr(casting, check, lambda *_, **__: None)
    monkeypatch.setattr(sl.DPActivations, "smash", counting)
    victim = trained(
        2, protocol=sl.SplitFedV2(clients=3), partition=sl.WithReplacement(size=64), seed=seed
    )

    assert victim.releases_heard["server"] == max(sent.values()) > 2


def test_after_the_fact_the_seat_has_heard_the_training_too() -> None:
    victim = trained(3)

    row = row_of(victim, targets=replace(TARGETS, releases=2))

    assert (row["releases"], row["seat_releases"]) == (2, 5)
    assert row["epsilon"] == pytest.approx(stated(2))
    assert row["seat_epsilon"] == pytest.approx(stated(5))


def test_a_listener_received_the_training_and_the_answers() -> None:
    listener = sl.PCAT.smoke()
    victim = trained(2, listeners=[listener], grants=GRANTS)

    row = row_of(victim, listener, grants=GRANTS)

    assert row["releases"] == row["seat_releases"] == 2 + TARGETS.releases
    assert row["epsilon"] == row["seat_epsilon"] == pytest.approx(stated(2 + TARGETS.releases))


def test_the_one_pass_over_frozen_networks_is_a_release() -> None:
    client, server = sl.cut(network(), CUT)

    victim = sl.frozen(client, server, split(), defense=PRIVATE, targets=TARGETS)

    assert victim.releases_heard["server"] == 1
    assert row_of(victim)["seat_releases"] == 1 + TARGETS.releases


@pytest.mark.parametrize(
    "protocol", [sl.Vertical(clients=3), sl.ExtendedVanilla(clients=3), sl.MultiTask(clients=3)]
)
def test_parties_with_parts_of_a_record_release_it_once_together(protocol: Protocol) -> None:
    victim = sl.train(
        whole, digits(), cut=cut_of(protocol), protocol=protocol, defense=PRIVATE,
        training=sl.Training(epochs=2),
    )  # fmt: skip

    assert victim.releases_heard["server"] == 2
    joint = victim.configured_defense
    assert stated(2, joint) == stated(6)  # three parties, two epochs


def test_what_hops_pass_on_is_no_further_release() -> None:
    protocol = sl.MultiHop()

    victim = sl.train(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)
        ),
        split(), cut=[1, 3], protocol=protocol, defense=PRIVATE, training=sl.Training(epochs=2),
    )  # fmt: skip

    assert set(victim.releases_heard.values()) == {2}


def test_a_seat_that_hears_no_smashed_data_hears_no_release() -> None:
    assert trained(2).releases_heard["client"] == 0


def test_updates_come_from_inputs_without_protection() -> None:
    verdict = sl.attack(trained(), Says(answer=mean_of_aux)).verdict
    learned = replace(verdict, knowledge=("aux", "updates"))

    row = verdict_columns(PRIVATE, Says(answer=mean_of_aux), learned)

    assert (row["epsilon"], row["seat_epsilon"], row["delta"]) == (None, None, None)


def test_a_stored_victim_keeps_its_releases(tmp_path: Path) -> None:
    victim = trained(2, seed=3)
    save_victim(victim, tmp_path / "victim.safetensors")

    back = restored(
        tmp_path / "victim.safetensors", network, split(), cut=CUT, protocol=sl.Vanilla(),
        defense=PRIVATE, seed=3, training=QUICK, targets=TARGETS,
    )  # fmt: skip

    assert back.releases_heard == victim.releases_heard
    assert back.releases_heard["server"] == 2
