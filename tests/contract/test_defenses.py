"""Every registered defense, at its smallest setting, keeps the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import pytest
from support.toys import differences, run_state, seated, witness

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import DEFENSES
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.testing.defenses import defense_checks

ACTING = {name: kind for name, kind in DEFENSES.items() if kind is not NoDefense}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{what}")
        for name, kind in ACTING.items()
        for what, check in defense_checks(kind).items()
    ],
)
def test_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("protocol", [Vanilla(), Vanilla(labels_at="server"), UShaped()])
@pytest.mark.parametrize("nothing", [NoDefense(), Chain(), Chain(NoDefense(), NoDefense())])
def test_no_defense_is_bit_identical_to_a_defense_that_does_nothing(
    nothing: Defense, protocol: Vanilla | UShaped
) -> None:
    plain, with_nothing = (
        run_state(witness(seated(d, norm="batch", protocol=protocol)))
        for d in (Inert(), nothing)
    )  # fmt: skip
    plain, with_nothing = (
        {k: v for k, v in state.items() if not k.startswith("stream.defense")}
        for state in (plain, with_nothing)
    )
    assert differences(plain, with_nothing) == []


@final
@dataclass(kw_only=True, eq=False)
class Inert(Defense):
    """Does nothing."""

    citation: ClassVar[str] = "nobody 2026"
