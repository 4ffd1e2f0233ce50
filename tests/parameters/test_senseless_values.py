"""Every protocol, partition and reducer, and the settings of victims and targets."""

import pytest
from support.senseless import senseless_values, undeclared

from sltoolkit.data.partition import PARTITIONS
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.wire.reducers import REDUCERS

KINDS: list[type] = [
    *PROTOCOLS.values(), *PARTITIONS.values(), *REDUCERS.values(), Training, Targets,
]  # fmt: skip
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@EVERY_KIND
def test_a_value_out_of_range_or_of_the_wrong_type_is_refused(kind: type) -> None:
    for name, value in senseless_values(kind):
        with pytest.raises(SpecError, match=f"^{kind.__name__}: {name} must be .*, got "):
            kind(**{name: value})


@EVERY_KIND
def test_every_parameter_says_what_it_means(kind: type) -> None:
    assert undeclared(kind) == []


def test_the_values_beyond_a_range_are_not_empty() -> None:
    tried = list(senseless_values(PROTOCOLS["fedavg"]))
    assert ("dropout", 1) in tried
    assert ("dropout", -1) in tried
    assert ("participation", 0) in tried
    assert ("local_epochs", 0) in tried
