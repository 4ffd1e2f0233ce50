"""The toys of `sltoolkit.testing`, in one module for the tests."""

from sltoolkit.testing.runs import Witnessed, seated, witness
from sltoolkit.testing.states import (
    differences,
    module_state,
    run_state,
    tensors_of,
    victim_state,
)
from sltoolkit.testing.toys import (
    CLASSES,
    CUT,
    GRANTS,
    QUICK,
    SHAPE,
    TARGETS,
    network,
    random_split,
    split,
    victim,
)

__all__ = [
    "CLASSES", "CUT", "GRANTS", "QUICK", "SHAPE", "TARGETS", "Witnessed", "differences",
    "module_state", "network", "random_split", "run_state", "seated", "split", "tensors_of",
    "victim", "victim_state", "witness",
]  # fmt: skip
