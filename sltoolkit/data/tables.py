"""Adult, the census table on which tabular split learning is measured."""

import io
from pathlib import Path

import numpy as np
import pandas as pd

from sltoolkit.data.files import fetch, read_checked
from sltoolkit.data.layout import Array
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.errors import DataError

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
MD5 = {
    "adult.data": "5d7c39d7b8804f071cdd1f2a7c460872",
    "adult.test": "35238206dfdf7f1fe215bbb874adecdc",
}
COLUMNS = (
    "age", "workclass", "weight", "education", "education_years", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week",
    "native_country", "income",
)  # fmt: skip
DEMOGRAPHICS = ("age", "marital_status", "relationship", "race", "sex", "native_country")
WORK = (
    "workclass", "education_years", "occupation", "capital_gain", "capital_loss", "hours_per_week",
)  # fmt: skip
"""With `DEMOGRAPHICS`, these are all features, ordered so that two parties may share them."""


def adult(root: Path) -> Pool:
    """48,842 people: features in [0, 1], and whether they earn more than 50,000 dollars a year.

    Kohavi & Becker 1996 (UCI). Read from `root`/tabular/adult.data and adult.test. Each category
    has one column; a missing value is a category. Numbers are scaled by their range in adult.data,
    capital gain and loss after log(1 + x). The sampling weight is left out, and so is `education`,
    which is equivalent to its number of years. The demographic columns come first, then those about
    work.

    Raises:
        DataError: if a file is missing and can't be fetched, or is not the official one.
    """
    tables = [_table(root / "tabular" / name, md5) for name, md5 in MD5.items()]
    frame = pd.concat(tables, ignore_index=True)
    columns = [_feature(frame[name], len(tables[0])) for name in (*DEMOGRAPHICS, *WORK)]
    income = frame["income"].str.rstrip(".") == ">50K"
    return from_arrays(
        np.concatenate(columns, axis=1), income.to_numpy().astype(np.int64), name="adult",
        classes=("<=50K", ">50K"),
    )  # fmt: skip


def _table(path: Path, md5: str) -> pd.DataFrame:
    if not path.exists():
        fetch(path, URL, md5)
    text = io.BytesIO(read_checked(path, md5))
    frame = pd.read_csv(
        text, names=list(COLUMNS), skipinitialspace=True, comment="|", skip_blank_lines=True
    )
    if frame["income"].isna().any():
        raise DataError(f"{path} has rows without an income: get the file again")
    return frame


def _feature(column: pd.Series, first: int) -> Array:
    """One column, as columns in [0, 1]; the range is that of the `first` rows."""
    if column.dtype.kind not in "if":
        return pd.get_dummies(column).to_numpy(dtype=np.float32)
    numbers = column.to_numpy().astype(np.float32)
    if str(column.name).startswith("capital"):
        numbers = np.log1p(numbers)
    low, high = numbers[:first].min(), numbers[:first].max()
    scaled: Array = np.clip((numbers - low) / (high - low), 0, 1)
    return scaled[:, None]
