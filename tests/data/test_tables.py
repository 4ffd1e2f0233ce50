"""The census table: what is read, and how it is scaled."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sltoolkit.data.tables import COLUMNS, adult
from sltoolkit.errors import DataError


@pytest.fixture(scope="module")
def census(shared_data: Path) -> Path:
    """The folder with the census table."""
    if not (shared_data / "tabular").is_dir():
        pytest.skip("no census table beside the repository")
    return shared_data


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
