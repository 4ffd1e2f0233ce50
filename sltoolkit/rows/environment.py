"""The environment that results depend on: versions, and the commit of a checkout."""

import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


@cache
def environment() -> dict[str, Any]:
    """The versions that results depend on, and the commit if the package runs from a checkout."""
    return {
        "sltoolkit": version("sltoolkit"),
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return ""
    asked = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
