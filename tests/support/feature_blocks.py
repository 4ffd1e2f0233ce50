"""Protocols of parties with feature blocks of their own, for their tests."""

import pytest
from family import Style, parts, play_parts
from tiny import Log

from sltoolkit.casting import Run
from sltoolkit.protocols import ExtendedVanilla, MultiTask, Protocol, Vertical
from sltoolkit.protocols.merging import MERGES
from sltoolkit.settings import Training

MERGED = pytest.mark.parametrize("merge", list(MERGES))
FAMILY: list[Protocol] = [Vertical(clients=3), ExtendedVanilla(clients=3), MultiTask(clients=3)]
EACH = pytest.mark.parametrize("protocol", FAMILY, ids=["vertical", "extended", "multi_task"])


def replay(protocol: Protocol, training: Training, style: Style = "conv") -> tuple[Run, Log]:
    return play_parts(protocol, parts(protocol.parts, style), training)
