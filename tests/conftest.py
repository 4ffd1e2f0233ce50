"""Fixtures that all tests share."""

import gc
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pooch
import pytest
import torch
from filelock import FileLock

from sltoolkit.referee import baselines, constants

pytest.register_assert_rewrite("support")  # a failing check says what it compared


def pytest_collection_finish() -> None:
    """Imported modules and collected tests stay, so garbage collection need not examine them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Use one torch thread: test workers run side by side, and more threads slow them down.

    It is set before every test, because importing numba (as dcor does) raises the number again.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def short_priors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines are learned in a few steps, since most tests judge toys whose gains don't matter.

    A test marked `full_length`, or of whole runs, computes them as the product does.
    """
    whole = "e2e" in request.path.parts  # runs are compared with those of other processes
    if not whole and request.node.get_closest_marker("full_length") is None:
        monkeypatch.setattr(baselines, "steps_for", lambda samples, batch_size: 24)
        monkeypatch.setattr(constants, "STEPS", 3)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not use the network."""

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
def dcor(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The library dcor, imported by the tests that need it, since it compiles for half a minute.

    One test worker at a time, because two that write one compiler cache crash each other.
    """
    with FileLock(tmp_path_factory.getbasetemp().parent / "dcor.lock"):
        return import_module("dcor")
