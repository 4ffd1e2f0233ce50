"""Extended vanilla against one network trained whole, in float64."""

import pytest
from support.feature_blocks import check_uneven_blocks_equal_the_monolith, replay
from support.feature_networks import Style
from support.tiny import EPOCHS, SGD, N

from sltoolkit.protocols import ExtendedVanilla
from sltoolkit.wire.message import Link

pytestmark = pytest.mark.golden


def test_extended_vanilla_adds_what_the_joining_client_sends() -> None:
    run, _ = replay(ExtendedVanilla(clients=2), SGD)
    widths = {("client", "hop"): 2 * 6 * 3, ("partner1", "hop"): 2 * 6 * 3, ("hop", "server"): 7}
    up = {Link(a, b, "smashed"): 8 * EPOCHS * N * q for (a, b), q in widths.items()}
    down = {Link(b, a, "smashed_grad"): 8 * EPOCHS * N * q for (a, b), q in widths.items()}
    assert run.cast.wire.bytes == up | down


@pytest.mark.parametrize("style", ["conv", "mlp"])
@pytest.mark.parametrize(
    "protocol", [ExtendedVanilla(), ExtendedVanilla(clients=4)], ids=["2", "4"]
)
def test_uneven_blocks_side_by_side_equal_the_monolith(
    protocol: ExtendedVanilla, style: Style
) -> None:
    check_uneven_blocks_equal_the_monolith(protocol, style)
