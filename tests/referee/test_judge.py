"""The referee: its targets, what reaches an attack, and what is stated of it."""

from dataclasses import replace

import pytest
import torch
from support.scripted_attacks import Asks, QueryView, Says, ToyView, mean_of_aux
from support.toys import TARGETS, victim
from torch import Tensor

from sltoolkit.api import attack
from sltoolkit.attacks import Decoder, Direction
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DPActivations, GaussianNoise
from sltoolkit.errors import ProtocolError
from sltoolkit.protocols import Vanilla
from sltoolkit.referee.judge import judge


def test_targets_depend_on_the_victims_seed_alone() -> None:
    same = [victim(), victim(GaussianNoise(), protocol=Vanilla(clients=2))]
    verdicts = [judge(v, Says(answer=mean_of_aux), seed=s) for s, v in enumerate(same)]
    assert torch.equal(verdicts[1].truth.ids, verdicts[0].truth.ids)
    other = judge(victim(seed=4), Says(answer=mean_of_aux), seed=0)
    assert not torch.equal(other.truth.ids, verdicts[0].truth.ids)
    for verdict in (*verdicts, other):
        assert (verdict.truth.ids >= 1000).all()  # held out


def test_targets_can_be_training_records() -> None:
    part = replace(TARGETS, part="private_train")
    verdict = judge(victim(targets=part), Says(answer=mean_of_aux), seed=0)
    assert (verdict.truth.ids < 48).all()


def test_epsilon_composes_over_the_releases_that_the_attack_received() -> None:
    defense = DPActivations(epsilon=1.0)
    private = victim(defense)
    rows = [
        attack(private, Says(answer=mean_of_aux), targets=replace(TARGETS, releases=n)).rows()
        for n in (1, 4)
    ]
    for n, found in zip((1, 4), rows, strict=True):
        expected = defense.guarantee(releases=n, delta=1e-5)
        assert expected is not None
        assert set(found["epsilon"]) == {expected.epsilon}
        assert set(found["releases"]) == {n}
    assert rows[0]["epsilon"][0] == pytest.approx(1.0)
    assert rows[1]["epsilon"][0] > 1.5
    assert attack(victim(), Says(answer=mean_of_aux)).rows()["epsilon"].isna().all()


def test_repeated_releases_reach_the_attack_with_fresh_noise() -> None:
    heard: list[Tensor] = []

    def listen(view: ToyView) -> Outcome:
        heard.append(view.smashed)
        return mean_of_aux(view)

    noisy = victim(GaussianNoise(std=1.0))
    judge(noisy, Says(answer=listen), seed=0, targets=replace(TARGETS, releases=3))
    judge(noisy, Says(answer=listen), seed=1, targets=replace(TARGETS, releases=3))
    assert heard[0].shape == (3, 6, 4, 8, 8)
    assert not torch.equal(heard[0][0], heard[0][1])
    assert torch.equal(heard[0], heard[1])  # the same draw for every attack and attacker seed


@pytest.mark.parametrize(("inputs", "repeats"), [(0, 1), (1, 1), (5, 1), (3, 4)])
def test_queries_to_the_release_oracle_are_a_column(inputs: int, repeats: int) -> None:
    def ask(view: QueryView) -> Outcome:
        if inputs:
            view.release(view.aux.x[:inputs], repeats=repeats)
        return Reconstruction(images=view.aux.x[:6])

    found = attack(victim(), Asks(answer=ask)).rows()

    assert set(found["queries"]) == {inputs * repeats}


def test_an_attack_without_the_oracle_asks_nothing() -> None:
    assert set(attack(victim(), Says(answer=mean_of_aux)).rows()["queries"]) == {0}


def test_a_rehearsal_asks_the_same_oracle() -> None:
    given = attack(victim(), Decoder.smoke()).verdict.queries
    assert given > 0
    assert attack(victim(), Decoder()).verdict.queries > given


def test_one_attacker_seed_one_outcome() -> None:
    noisy = victim(GaussianNoise())
    outcomes = [judge(noisy, Decoder.smoke(), seed=s).outcome for s in (0, 0, 1)]
    first, again, other = (o.images for o in outcomes if isinstance(o, Reconstruction))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_that_were_not_recorded_are_refused_in_a_sentence() -> None:
    with pytest.raises(ProtocolError, match="were not recorded"):
        judge(
            victim(protocol=Vanilla(labels_at="server")),
            Direction(),
            seed=0,
            grants=("hints",),
            targets=Targets(labels=30, hints=3, count=6),
        )
