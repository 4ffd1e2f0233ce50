"""Every registered protocol keeps the contract, and so will protocols that are added later."""

from collections.abc import Callable

import pytest

from sltoolkit.protocols import PROTOCOLS
from sltoolkit.testing.protocols import protocol_checks


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{what}")
        for name, kind in PROTOCOLS.items()
        for what, check in protocol_checks(kind).items()
    ],
)
def test_contract(check: Callable[[], None]) -> None:
    check()
