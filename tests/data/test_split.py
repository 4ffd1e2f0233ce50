import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sltoolkit import data
from sltoolkit.bench.recipes import split_of
from sltoolkit.bench.spec import DataSpec
from sltoolkit.data.embedded import digits, faces, photos
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.split import check_disjoint, split, with_foreign_aux
from sltoolkit.errors import DataError, SpecError

PARTS = ("private_train", "private_holdout", "aux")


def noise_pool(n: int = 60, groups: int | None = None, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    return from_arrays(
        rng.random((n, 1, 12, 12), dtype=np.float32), np.arange(n) % 3, name="noise",
        groups=None if groups is None else rng.permutation(n) % groups,
    )  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(groups=st.integers(12, 60), seed=st.integers(0, 10_000))
def test_parts_share_neither_sources_nor_groups(groups: int, seed: int) -> None:
    made = split(noise_pool(groups=groups), train=20, holdout=5, aux=10, seed=seed)
    for k, one in enumerate(PARTS):
        for other in PARTS[k + 1 :]:
            a, b = getattr(made, one), getattr(made, other)
            assert not set(a.ids.tolist()) & set(b.ids.tolist())
            assert not set(a.groups.tolist()) & set(b.groups.tolist())
    assert [len(getattr(made, p)) for p in PARTS] == [20, 5, 10]


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    one, same, other = (split(noise_pool(), train=20, holdout=5, aux=10, seed=s) for s in (1, 1, 2))
    assert one.digests == same.digests
    assert one.digests["aux"] != other.digests["aux"]


def test_a_near_duplicate_never_straddles_two_parts() -> None:
    x = np.random.default_rng(0).random((40, 3, 16, 16), dtype=np.float32)
    twins = (x + 0.005 * np.random.default_rng(1).standard_normal(x.shape)).clip(0, 1)
    pool = from_arrays(np.concatenate([x, twins.astype(np.float32)]), np.arange(80) % 2)
    made = split(pool, train=20, holdout=8, aux=20, seed=3)
    held = [{int(i) % 40 for i in getattr(made, p).ids} for p in PARTS]
    assert not held[0] & held[1]
    assert not (held[0] | held[1]) & held[2]


def _twins(n: int = 40) -> np.ndarray:
    x = np.random.default_rng(0).random((n, 1, 16, 16), dtype=np.float32)
    return np.repeat(x, 2, axis=0)


def test_twins_are_not_dropped_but_go_together_unless_the_switch_says_otherwise(
    tmp_path: Path,
) -> None:
    y = np.arange(80) // 2 % 2
    made = split(from_arrays(_twins(), y), train=40, holdout=20, aux=20)
    assert all(len(set((getattr(made, p).ids // 2).tolist())) * 2 == len(getattr(made, p))
               for p in PARTS)  # fmt: skip
    apart = split(from_arrays(_twins(), y), train=40, holdout=20, aux=20, duplicates="ignore")
    assert {int(i) // 2 for i in apart.aux.ids} & {int(i) // 2 for i in apart.private_train.ids}
    check_disjoint(apart)
    with pytest.raises(SpecError, match="no treatment of duplicates is called 'drop'"):
        split(from_arrays(_twins(), y), train=40, holdout=20, aux=20, duplicates="drop")  # type: ignore[arg-type]
    np.savez(tmp_path / "twins.npz", x=_twins(), y=y)
    for duplicates, expected in (("together", made), ("ignore", apart)):
        table = {"name": str(tmp_path / "twins.npz"), "train": 40, "holdout": 20, "aux": 20}
        spec = DataSpec.model_validate({**table, "duplicates": duplicates})
        read = split_of({"data": spec.model_dump()})
        assert read.digests == expected.digests


def test_equal_features_are_different_people() -> None:
    """Two pairs of equal rows among real numbers; they may be in different parts."""
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    x[:2] = x[2:4]
    pool = from_arrays(x, np.arange(300) % 2)
    splits = [split(pool, train=100, holdout=80, aux=120, seed=s) for s in range(20)]
    for made in splits:
        check_disjoint(made)
        copied = replace(
            made.private_train[:60], ids=made.aux.ids[:60], groups=made.aux.groups[:60]
        )
        with pytest.raises(DataError, match="equal private ones"):
            check_disjoint(replace(made, aux=copied))
    assert any(made.equal_by_chance for made in splits)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.r_[np.zeros(130), np.arange(1, 171)], "group of 130 samples.*the largest part, 100"),
        (np.arange(300) // 30, "up to 30 samples.*larger than its part, 20 for private_holdout"),
    ],
)
def test_a_group_larger_than_its_part_is_refused(groups: np.ndarray, message: str) -> None:
    x = np.random.default_rng(0).random((300, 1, 12, 12), dtype=np.float32)
    pool = from_arrays(x, np.arange(300) % 2, groups=groups)
    with pytest.raises(SpecError, match=message):
        split(pool, train=100, holdout=20, aux=50)


def test_near_duplicates_that_are_too_many_for_a_part_name_the_switch() -> None:
    rng = np.random.default_rng(0)
    x = np.r_[rng.random((100, 1, 8, 8)), np.repeat(rng.random((1, 1, 8, 8)), 100, 0)]
    pool = from_arrays(x.astype(np.float32), np.arange(200) % 2)
    with pytest.raises(SpecError, match=r"group of 100 samples.*duplicates='ignore'"):
        split(pool, train=60, holdout=20, aux=20)
    split(pool, train=60, holdout=20, aux=20, duplicates="ignore")


def test_parts_that_the_data_set_chose_badly_are_refused() -> None:
    y = np.arange(600) % 2
    parts = np.where(y == 0, np.arange(600) % 3, np.arange(600) // 2 % 2 * 2)  # no 1 is held out
    x = np.random.default_rng(0).random((600, 1, 8, 8), dtype=np.float32)
    pool = from_arrays(x, y, parts=parts)
    with pytest.raises(SpecError, match=r"private_holdout isn't drawn.*50\.0% of the pool"):
        split(pool, train=60, holdout=80, aux=40)


@pytest.mark.parametrize("seed", range(3))
def test_patients_who_differ_are_split_with_every_class_in_every_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), rng.integers(5, 40, 60))
    ill = rng.random(60) < 0.25
    y = (ill[groups] & (rng.random(len(groups)) < 0.7)).astype(int)
    pool = from_arrays(rng.random((len(y), 1, 8, 8), dtype=np.float32), y, groups=groups)
    made = split(pool, train=400, holdout=100, aux=200, seed=seed)
    for part in PARTS:
        assert float(getattr(made, part).y.float().mean()) == pytest.approx(y.mean(), abs=0.08)


def test_too_few_samples_say_how_many_there_are_and_what_to_do() -> None:
    with pytest.raises(DataError, match=r"noise: only 10 samples are left for aux, 11 asked for"):
        split(noise_pool(), train=40, holdout=10, aux=11)
    with pytest.raises(DataError, match="needs at least 1"):
        split(noise_pool(), train=40, holdout=0, aux=5)


def test_a_class_without_training_samples_is_refused() -> None:
    x = np.random.default_rng(0).random((50, 1, 12, 12), dtype=np.float32)
    y = np.r_[np.ones(1), np.zeros(49)]
    messages = []
    for seed in range(20):
        try:
            split(from_arrays(x, y), train=10, holdout=5, aux=5, seed=seed)
        except DataError as e:
            messages.append(str(e))
    assert any("no training sample of class 1" in m for m in messages)


@pytest.mark.parametrize(("labels", "missing"), [((1, 2), "0"), ((3, 5), "0, 1, 2, 4")])
def test_labels_that_leave_numbers_out_are_explained(labels: tuple[int, int], missing: str) -> None:
    y = np.where(np.arange(60) % 2, *labels)
    pool = from_arrays(np.random.default_rng(0).random((60, 3)), y)
    with pytest.raises(DataError, match=f"no sample at all is of class {missing}, of .*from 0 on"):
        split(pool, train=30, holdout=10, aux=10)


def test_overlap_in_a_split_of_your_own_is_caught() -> None:
    s = noise_pool().samples
    shared = {"name": "own", "classes": ("a", "b", "c"), "private_train": s[:20]}
    with pytest.raises(DataError, match="share ids with aux"):
        check_disjoint(Split(**shared, private_holdout=s[20:30], aux=s[15:25]))  # type: ignore[arg-type]
    same_person = Samples(x=s.x[30:], y=s.y[30:], ids=s.ids[30:], groups=s.groups[:30])
    with pytest.raises(DataError, match="share groups with aux"):
        check_disjoint(Split(**shared, private_holdout=s[20:30], aux=same_person))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.full((4, 1, 9, 9), np.nan, np.float32), np.zeros(4), "324 of 324 values are no numb"),
        (np.full((4, 1, 9, 9), 7.0, np.float32), np.zeros(4), r"expected \[0, 1\]"),
        (np.zeros((4, 9, 9, 9, 9), np.float32), np.zeros(4), r"shape \(4, 9, 9, 9, 9\)"),
        (np.zeros((4, 1, 9, 9), np.float32), np.zeros(3), r"expected \(4,\)"),
        (np.zeros((4, 1, 9, 9), np.float32), np.array([0, 1, -1, 0]), r"labels lie in \[-1, 1\]"),
        (np.zeros((4, 1, 9, 9), np.float32), np.array([0, 0.5, 1, 0]), "must be integers"),
        (np.zeros((4, 1, 9, 9), np.int64), np.zeros(4), "expected uint8 or float"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(x: Any, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(x, y)


def test_labels_beyond_the_given_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected 0 to 1 for 2 classes"):
        from_arrays(np.zeros((3, 1, 9, 9), np.uint8), np.array([0, 1, 2]), classes=["a", "b"])


def test_bytes_become_unit_pixels() -> None:
    made = from_arrays(np.full((2, 1, 9, 9), 255, np.uint8), np.array([0, 1]))
    assert float(made.samples.x.min()) == 1.0


def test_the_embedded_sets_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert digits().samples.x.shape == (1797, 1, 8, 8)
    assert faces().samples.x.shape == (200, 1, 25, 25)
    assert photos().samples.x.shape[1:] == (3, 32, 32)


@pytest.mark.parametrize("name", ["digits", "photos", "faces"])
def test_the_embedded_sets_load_with_their_default_sizes(name: str) -> None:
    made = data.load(name)
    sizes = (len(made.private_train), len(made.private_holdout), len(made.aux))
    assert sizes == data.DATASETS[name].sizes
    assert 0 <= float(made.aux.x.min()) <= float(made.aux.x.max()) <= 1


def test_no_private_patch_of_a_photograph_shares_a_pixel_region_with_the_attackers() -> None:
    pool = photos()
    assert pool.parts is not None
    for group in pool.samples.groups.unique():
        assert len(pool.parts[pool.samples.groups == group].unique()) == 1
    made = data.load("photos")
    assert set(made.private_train.y.tolist()) == set(made.aux.y.tolist()) == set(range(6))


def test_an_unknown_data_set_gets_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'photos'"):
        data.load("photo")


def test_an_attacker_may_own_samples_of_another_data_set() -> None:
    split = data.load("digits", aux=100)
    rng = np.random.default_rng(0)
    other = from_arrays(rng.random((300, 1, 8, 8)), np.arange(300) % 10, name="other")
    made = with_foreign_aux(split, other, count=100)
    assert len(made.aux) == 100
    assert made.private_train is split.private_train
    assert int(made.aux.ids.max()) < 0 <= int(split.private_train.ids.min())
    assert made.digests["aux"] != split.digests["aux"]
    rows = {tuple(x.flatten().tolist()) for x in other.samples.x}
    assert all(tuple(x.flatten().tolist()) in rows for x in made.aux.x)


def test_foreign_samples_must_fit_the_client() -> None:
    split = data.load("digits", aux=100)
    narrow = from_arrays(np.zeros((5, 1, 8, 9)), np.arange(5))
    with pytest.raises(DataError, match="the same shape"):
        with_foreign_aux(split, narrow, count=5)
    few = from_arrays(np.zeros((5, 1, 8, 8)), np.arange(5))
    with pytest.raises(DataError, match="5 samples, 6 asked for"):
        with_foreign_aux(split, few, count=6)
