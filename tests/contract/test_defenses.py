"""Every registered defense, at its smallest setting, keeps to the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import pytest
from support.toys import differences, run_state, seated, witness

from contract import attack_checks
from contract import defense_checks as checks
from contract import source_checks as sources
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import DEFENSES
from sltoolkit.protocols import UShaped, Vanilla

FOLDER = Path(__file__).parents[2] / "defenses"
ACTING = {k: v for k, v in DEFENSES.items() if v is not NoDefense}

each = pytest.mark.parametrize("kind", ACTING.values(), ids=ACTING.keys())
each_file = pytest.mark.parametrize("path", sorted(sources.sources_below(FOLDER)))


@each
@pytest.mark.parametrize(
    "check",
    [
        attack_checks.check_citation, checks.check_acts, checks.check_strength_acts,
        checks.check_release_path_uses_it, checks.check_masks_are_exact,
        checks.check_deterministic_per_stream, checks.check_parties_share_no_state,
        checks.check_loss_has_gradient, checks.check_guarantee_complete,
        checks.check_says_whether_a_batch_shares_its_draws,
    ],
)  # fmt: skip
def test_contract(kind: type[Defense], check: Callable[[Defense], None]) -> None:
    check(kind.smoke())


@each
@pytest.mark.parametrize(
    "check", [checks.check_default_constructible, checks.check_strength_is_field]
)
def test_construction(kind: type[Defense], check: Callable[[type[Defense]], None]) -> None:
    check(kind)


@each_file
def test_runs_on_any_device(path: str) -> None:
    sources.check_device_agnostic(sources.sources_below(FOLDER)[path], path)


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
