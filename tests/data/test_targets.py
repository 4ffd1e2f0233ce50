"""Which records an attack is asked about: fixed, in range, and apart from the hints."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.toys import TARGETS, split

from sltoolkit.data.targets import Targets, image_targets, label_targets
from sltoolkit.errors import DataError, SpecError


@pytest.mark.parametrize("hints", [0, 1, 3])
def test_hints_are_not_among_the_targets(hints: int) -> None:
    held = split().private_train
    known, hinted = label_targets(held, replace(TARGETS, labels=20, hints=hints), seed=0)
    assert len(known) == 20
    assert hinted.y.bincount(minlength=3).tolist() == [hints] * 3
    assert not set(known.ids.tolist()) & set(hinted.ids.tolist())


def test_too_many_targets_are_refused() -> None:
    with pytest.raises(DataError, match=r"19 targets asked for.*only 18"):
        image_targets(split(), split().private_train, Targets(count=19), seed=0)


@pytest.mark.parametrize("name", ["count", "releases", "labels", "hints"])
def test_impossible_targets_are_refused(name: str) -> None:
    impossible: dict[str, Any] = {name: -1}
    with pytest.raises(SpecError, match=rf"Targets: {name} must be a whole number of at least"):
        replace(TARGETS, **impossible)


def test_the_draw_is_a_function_of_the_sizes_alone() -> None:
    here, there = split(), split(seed=5)
    a, b = (image_targets(d, d.private_train, TARGETS, seed=0) for d in (here, there))
    assert torch.equal(a.ids, b.ids)
    assert not torch.equal(a.x, b.x)


@pytest.mark.parametrize("kind", ["images", "labels", "hints"])
def test_every_victim_seed_draws_its_own_targets_unless_a_draw_is_named(kind: str) -> None:
    data = split()

    def ids(asked: Targets, seed: int) -> list[int]:
        known, hinted = label_targets(data.private_train, asked, seed=seed)
        images = image_targets(data, data.private_train, asked, seed=seed)
        found: list[int] = {"images": images, "labels": known, "hints": hinted}[kind].ids.tolist()
        return found

    assert ids(TARGETS, 1) == ids(TARGETS, 1)
    assert ids(TARGETS, 0) != ids(TARGETS, 1)
    named = replace(TARGETS, draw=1)
    assert [ids(named, seed) for seed in (0, 1, 2)] == [ids(TARGETS, 1)] * 3


def test_fewer_targets_are_the_first_of_more() -> None:
    data = split()
    few, many = (
        image_targets(data, data.private_train, replace(TARGETS, count=n), seed=0) for n in (4, 12)
    )
    assert torch.equal(many.ids[:4], few.ids)
    assert len(set(many.ids.tolist())) == 12


def test_training_targets_are_of_what_the_client_held() -> None:
    data = split()
    held = data.private_train[torch.arange(10, 20)]
    found = image_targets(data, held, replace(TARGETS, part="private_train"), seed=0)
    assert set(found.ids.tolist()) <= set(range(10, 20))


@pytest.mark.parametrize(("count", "batch"), [(2, 1), (8, 2), (12, 3)])
def test_targets_of_both_kinds_are_half_trained_and_half_held_out(count: int, batch: int) -> None:
    data = split()
    held = data.private_train[torch.arange(10, 20)]
    both = replace(TARGETS, part="both", count=count, batch=batch)
    found = image_targets(data, held, both, seed=0)

    seen, unseen = (
        image_targets(data, held, replace(both, count=count // 2, part=part), seed=0)
        for part in ("private_train", "private_holdout")
    )
    assert found.ids.tolist() == [*seen.ids.tolist(), *unseen.ids.tolist()]
    assert torch.equal(found.x, torch.cat([seen.x, unseen.x]))
    assert set(seen.ids.tolist()) <= set(held.ids.tolist())


@pytest.mark.parametrize(("count", "batch"), [(3, 1), (6, 2)])
def test_two_kinds_of_targets_need_two_halves(count: int, batch: int) -> None:
    with pytest.raises(SpecError, match=f"targets.count {count} is no multiple of {2 * batch}"):
        Targets(part="both", count=count, batch=batch)
