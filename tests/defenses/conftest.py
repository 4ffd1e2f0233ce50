"""The data of the trainings behind defenses."""

import pytest
import torch
from sklearn.datasets import load_digits

from sltoolkit.data.samples import Samples, Split


@pytest.fixture(scope="session")
def digits() -> Split:
    raw = load_digits()
    x = torch.tensor(raw.data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    every = torch.arange(900)
    whole = Samples(x=x[:900], y=torch.tensor(raw.target[:900]), ids=every, groups=every)
    return Split(
        name="digits",
        private_train=whole[:500],
        private_holdout=whole[500:800],
        aux=whole[800:],
        classes=tuple("0123456789"),
    )
