"""Heartbeats: what is read, how it is scaled, and how patients are kept apart."""

from pathlib import Path

import numpy as np
import pytest

from sltoolkit import data
from sltoolkit.data.signals import mitbih
from sltoolkit.errors import DataError


@pytest.fixture(scope="module")
def beats(shared_data: Path) -> Path:
    """The folder with the beats."""
    if not (shared_data / "MITBIH").is_dir():
        pytest.skip("no heartbeats beside the repository")
    return shared_data


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
