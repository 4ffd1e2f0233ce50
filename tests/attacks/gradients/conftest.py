"""The data of the victims whose updates are heard."""

from typing import Any

import pytest

import sltoolkit as sl


@pytest.fixture(scope="session")
def digits() -> Any:
    return sl.data.load("digits")
