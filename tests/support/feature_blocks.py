"""Protocols in which each party holds its own block of features, for their tests."""

import pytest

from sltoolkit.parties.settings import Training
from sltoolkit.protocols import ExtendedVanilla, MultiTask, Protocol, Vertical
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.merging import MERGES
from sltoolkit.training.run import Run
from support.feature_networks import Monolith, Style, parts, play_parts, schedule, weights
from support.tiny import ADAM, close

MERGED = pytest.mark.parametrize("merge", list(MERGES))
FAMILY: list[Protocol] = [Vertical(clients=3), ExtendedVanilla(clients=3), MultiTask(clients=3)]
EACH = pytest.mark.parametrize("protocol", FAMILY, ids=["vertical", "extended", "multi_task"])


def replay(
    protocol: Protocol, training: Training, style: Style = "conv"
) -> tuple[Run, RecordingEar]:
    return play_parts(protocol, parts(protocol.parts, style), training)


def check_uneven_blocks_equal_the_monolith(protocol: Protocol, style: Style) -> None:
    run, log = replay(protocol, ADAM, style)
    close(weights(run), Monolith(run).learn(schedule(log), ADAM).weights())
