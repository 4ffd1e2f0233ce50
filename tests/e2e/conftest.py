"""One finished tiny experiment for all end-to-end tests."""

from pathlib import Path

import pytest
from support.experiment import tiny

from sltoolkit.bench.run import Finished, run_bench


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny experiment, run in this process without interruption."""
    folder: Path = tmp_path_factory.mktemp("reference")
    return run_bench(tiny(), folder)
