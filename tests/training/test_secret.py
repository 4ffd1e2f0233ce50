"""The victim's random streams can't be guessed, and are the same wherever its data are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.toys import (
    CUT,
    QUICK,
    TARGETS,
    differences,
    module_state,
    network,
    random_split,
    split,
    victim,
)  # fmt: skip

import sltoolkit as sl
from sltoolkit import api
from sltoolkit.data.samples import Samples, Split
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.attacks import GuessesSeed
from sltoolkit.training.checkpoint import save_victim
from sltoolkit.training.secret import salt_digest, victim_stream
from sltoolkit.training.victim import Victim

Change = Callable[[Samples], Samples]


def images() -> Split:
    return random_split(8, 4, 4, shape=(3, 5, 5), classes=3)


def changed(data: Split, part: str, change: Change) -> Split:
    parts: dict[str, Any] = {part: change(getattr(data, part))}
    return replace(data, **parts)


def brighter(held: Samples) -> Samples:
    x = held.x.clone()
    x[-1, -1, -1, -1] += 2**-20
    return replace(held, x=x)


def relabeled(held: Samples) -> Samples:
    return replace(held, y=torch.cat([held.y[:-1], (held.y[-1:] + 1) % 3]))


SAME: dict[str, Change] = {
    "channels last": lambda s: replace(s, x=s.x.contiguous(memory_format=torch.channels_last)),
    "a view": lambda s: replace(s, x=s.x.repeat_interleave(2, 0)[::2]),
    "float64": lambda s: replace(s, x=s.x.double()),
    "int32 labels": lambda s: replace(s, y=s.y.int()),
    "other ids": lambda s: replace(s, ids=s.ids + 7, groups=s.groups + 7),
}


@pytest.mark.parametrize("part", ["private_train", "private_holdout"])
@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_how_samples_lie_in_memory_changes_nothing(change: Change, part: str) -> None:
    here, there = images(), changed(images(), part, change)
    assert victim_stream(3, here).seed == victim_stream(3, there).seed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU")
def test_a_gpu_changes_nothing() -> None:
    assert victim_stream(3, images()).seed == victim_stream(3, images().to("cuda")).seed


def test_seed_salt_and_every_private_number_matter_and_the_attackers_do_not() -> None:
    data = images()
    parts, changes = ("private_train", "private_holdout"), (brighter, relabeled)
    streams = [
        victim_stream(3, data), victim_stream(4, data), victim_stream(3, data, salt="s"),
        victim_stream(3, data, salt="t"),
        *(victim_stream(3, changed(data, p, c)) for p in parts for c in changes),
    ]  # fmt: skip
    assert len({s.seed for s in streams}) == len(streams)
    other = changed(changed(data, "aux", brighter), "aux", relabeled)
    assert victim_stream(3, other).seed == victim_stream(3, data).seed


def test_published_hashes_say_nothing_about_it() -> None:
    data = images()
    known = [Stream(3).child("victim").seed]
    known += [Stream(int(d, 16)).child("victim").seed for d in data.digests.values()]
    assert victim_stream(3, data).seed not in known
    assert repr(victim_stream(3, data, salt="pepper")) == "Stream(victim)"


def attacked(seeds: int) -> list[float]:
    """Error on each target of an attack that tries so many seeds, behind strong noise."""
    noisy = victim(sl.GaussianNoise(std=2.0), seed=7, targets=sl.Targets(count=18))
    result = sl.attack(noisy, GuessesSeed(seeds=seeds, std=2.0))
    return [float(e) for e in result.verdict.scores["mse"]]


def test_trying_seeds_gains_nothing() -> None:
    assert attacked(seeds=51) == attacked(seeds=0)


def test_trying_seeds_would_gain_much_where_nothing_but_the_seed_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def guessable(seed: int, data: Split, *, salt: str) -> Stream:
        return Stream(seed).child("victim")

    monkeypatch.setattr(api, "victim_stream", guessable)
    assert sum(attacked(seeds=51)) < 0.5 * sum(attacked(seeds=0))


def trained(**options: Any) -> Victim:
    return victim(sl.GaussianNoise(std=0.5), **options)


def given(data: Split, **options: Any) -> Victim:
    with Stream(5).scope():
        client, server = sl.models.cut(network(), CUT)
    noise = sl.GaussianNoise(std=0.5)
    return sl.frozen(client, server, data, defense=noise, targets=TARGETS, **options)


def noise_of(made: Victim) -> torch.Tensor:
    return made.release(made.rng.fresh("targets"))(made.data.aux.x)


def test_a_salt_is_another_victim_and_no_salt_the_same_again() -> None:
    plain, again, salted = trained(), trained(), trained(salt="pepper")
    states = [module_state(made.client.client) for made in (plain, again, salted)]
    assert differences(states[0], states[1]) == []
    assert differences(states[0], states[2]) != []
    assert torch.equal(noise_of(plain), noise_of(again))
    assert (plain.recipe.salt, salted.recipe.salt) == ("", salt_digest("pepper"))


def test_a_frozen_victims_noise_depends_on_its_data_and_salt() -> None:
    one, again, salted = given(split()), given(split()), given(split(), salt="pepper")
    other = given(changed(split(), "private_holdout", brighter))
    assert torch.equal(noise_of(one), noise_of(again))
    assert not torch.equal(noise_of(one), noise_of(salted))
    assert not torch.equal(noise_of(one), noise_of(other))
    assert salted.recipe.salt == salt_digest("pepper")


def test_a_stored_victim_goes_on_with_its_salt(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "cut": CUT, "protocol": sl.Vanilla(), "defense": sl.GaussianNoise(std=0.5), "seed": 0,
        "training": QUICK, "targets": TARGETS, "salt": "pepper",
    }  # fmt: skip
    made = sl.train(network, split(), **settings)
    save_victim(made, tmp_path / "victim.safetensors")
    back = api.restored(tmp_path / "victim.safetensors", network, split(), **settings)
    assert torch.equal(noise_of(back), noise_of(made))
    assert back.recipe == made.recipe


def test_a_salt_is_shown_as_a_short_hash() -> None:
    assert salt_digest("") == ""
    assert salt_digest("pepper") != salt_digest("Pepper")
    assert len(salt_digest("pepper")) == 8
    assert "pepper" not in str(sl.attack(trained(salt="pepper"), sl.Retrieval()).rows().to_dict())
