"""What all tests share."""

import gc
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pooch
import pytest
import torch

pytest.register_assert_rewrite("support")  # a failing check says what it compared


def pytest_collection_finish() -> None:
    """What is imported and collected stays: who collects garbage needn't look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Test workers run side by side, and two busy ones with two threads each crawl.

    Before every test, because importing numba (which dcor does) puts the number back up.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing downloads in a test."""

    def unreachable(**_: Any) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr(pooch, "retrieve", unreachable)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files beside the repository, which not every machine has."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data files in {folder}")
    return folder


@pytest.fixture(scope="session")
def dcor() -> ModuleType:
    """The library; not compiled, which would take seconds and save milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        return import_module("dcor")
