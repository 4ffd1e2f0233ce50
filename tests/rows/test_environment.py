"""The environment that results depend on."""

import platform
import re
from importlib.metadata import version

import torch

from sltoolkit.rows.environment import environment


def test_versions_are_those_of_what_runs() -> None:
    found = environment()

    assert found["sltoolkit"] == version("sltoolkit")
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()


def test_the_commit_is_that_of_the_checkout_or_nothing() -> None:
    assert re.fullmatch(r"([0-9a-f]{12,})?", environment()["commit"])
