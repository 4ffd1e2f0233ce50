"""Heartbeats and the census table: what is read, how it is scaled, and how it is kept apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sltoolkit import data
from sltoolkit.data.pool import from_arrays
from sltoolkit.data.signals import mitbih
from sltoolkit.data.split import with_foreign_aux
from sltoolkit.data.tables import COLUMNS, adult
from sltoolkit.errors import DataError

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def beats() -> Path:
    """The folder with the beats."""
    if not (DATA / "MITBIH").is_dir():
        pytest.skip("no heartbeats beside the repository")
    return DATA


@pytest.fixture(scope="module")
def census() -> Path:
    """The folder with the census table."""
    if not (DATA / "tabular").is_dir():
        pytest.skip("no census table beside the repository")
    return DATA


def test_beats_are_scaled_one_by_one_and_have_their_published_counts(beats: Path) -> None:
    pool = mitbih(beats)
    assert pool.samples.x.shape == (43_980, 1, 128)
    assert bool((pool.samples.x.amin(2) == 0).all() and (pool.samples.x.amax(2) == 1).all())
    assert pool.samples.y.bincount().tolist() == [17277 + 16914, 944 + 1837, 3788 + 3220]
    assert len(pool.samples.groups.unique()) == 44


def test_no_patient_is_on_both_sides(beats: Path) -> None:
    split = data.load("mitbih", root=beats)
    parts = (split.private_train, split.private_holdout, split.aux)
    patients = [set(part.groups.tolist()) for part in parts]
    assert not patients[0] & patients[1]
    assert not (patients[0] | patients[1]) & patients[2]


def test_a_beat_that_is_constant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MITBIH").mkdir()
    path = tmp_path / "MITBIH" / "mitbih_beats.npz"
    x = np.arange(12, dtype=np.int16).reshape(3, 4)
    x[1] = 7
    np.savez(path, x=x, aami=np.arange(3), record=np.arange(3))
    with pytest.raises(DataError, match="beats that are constant"):
        mitbih(tmp_path)


def test_without_beats_it_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"MITBIH.mitbih_beats\.npz is missing.*SLTOOLKIT_DATA"):
        mitbih(tmp_path)


def test_the_census_has_its_published_counts(census: Path) -> None:
    pool = adult(census)
    assert len(pool) == 48_842
    assert int(pool.samples.y[:32_561].sum()) == 7_841
    assert int(pool.samples.y.sum()) == 7_841 + 3_846
    assert 0 == float(pool.samples.x.min()) < float(pool.samples.x.max()) == 1


def test_the_first_person_of_the_census_is_read_column_by_column(census: Path) -> None:
    row = adult(census).samples.x[0]
    # 39 years old between 17 and 90; the numbers after the categories: 13 years of education
    # between 1 and 16, a gain of 2,174 dollars at most 99,999, 40 hours between 1 and 99
    assert row[0] == pytest.approx((39 - 17) / (90 - 17))
    expected = [np.log(2175) / np.log(100_000), 0.0, (40 - 1) / (99 - 1)]
    torch.testing.assert_close(row[-3:], torch.tensor(expected, dtype=torch.float32))
    assert pytest.approx((13 - 1) / 15) in row.tolist()
    categories = {"marital": 7, "relationship": 6, "race": 5, "sex": 2, "country": 42}
    work = {"workclass": 9, "occupation": 15}
    assert len(row) == 6 - 1 + sum(categories.values()) + sum(work.values())
    assert int((row == 1).sum()) == len(categories) + len(work)
    assert len(COLUMNS) == 15


def test_a_damaged_census_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tabular").mkdir()
    (tmp_path / "tabular" / "adult.data").write_text("39, State-gov\n")
    with pytest.raises(DataError, match=r"adult\.data is damaged or another file"):
        adult(tmp_path)


def test_signals_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected \[0, 1\]"):
        from_arrays(np.full((2, 1, 9), 2.0), np.array([0, 1]))


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


def test_aux_from_is_an_argument_of_load(tmp_path: Path) -> None:
    np.savez(tmp_path / "noise.npz", x=np.random.default_rng(0).random((40, 1, 8, 8)),
             y=np.arange(40) % 10)  # fmt: skip
    foreign = data.load("digits", aux=40, aux_from=str(tmp_path / "noise.npz"))
    assert int(foreign.aux.ids.max()) < 0
    own = data.load("digits", aux=40, aux_from="digits")  # never the victim's samples
    assert own.digests == data.load("digits", aux=40).digests
