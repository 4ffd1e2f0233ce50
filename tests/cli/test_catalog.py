"""What `list` and `describe` know about plug-ins."""

from typing import Any, get_args

import pytest

from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.catalog import describe, entries
from sltoolkit.cli.options import Kind
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.errors import SpecError
from sltoolkit.metrics import METRICS
from sltoolkit.protocols import PROTOCOLS

KINDS = pytest.mark.parametrize("kind", get_args(Kind))


@KINDS
def test_every_entry_has_a_name_and_says_in_a_paragraph_what_it_is(kind: Kind) -> None:
    listed = entries(kind)

    assert len({entry["name"] for entry in listed}) == len(listed) > 0
    for entry in listed:
        assert entry["description"]
        assert "\n" not in entry["description"]


@KINDS
def test_a_description_holds_what_the_list_says(kind: Kind) -> None:
    for entry in entries(kind):
        described = describe(entry["name"])
        assert described["kind"] == kind
        same = set(entry) - {"description"}
        assert {key: described[key] for key in same} == {key: entry[key] for key in same}
        assert described["description"].startswith(entry["description"].split(". ")[0][:20])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_states_when_it_acts_and_every_grant_it_may_use(name: str) -> None:
    described = describe(name)

    when = "after the training"
    if issubclass(ATTACKS[name], Listener):
        when = "listens to the training"
    if issubclass(ATTACKS[name], ActiveAttack):
        when = "takes over a seat"
    assert described["when"] == when
    assert not set(described["needs"]) & set(described["can_use"])
    used = {*described["needs"], *described["can_use"]} & set(GRANTS)
    assert described["grants"] == {grant: GRANTS[grant] for grant in GRANTS if grant in used}


def test_parameters_stand_with_their_defaults() -> None:
    found: dict[str, Any] = describe("splitfed_v1")["parameters"]

    assert found["clients"]["default"] == PROTOCOLS["splitfed_v1"]().clients
    assert found["clients"]["expected"] == "a whole number of at least 1"


def test_metrics_state_direction_and_range() -> None:
    described = describe("ssim")

    metric = METRICS["ssim"]
    assert described["higher_is_more_leak"] is metric.higher_is_more_leak is True
    assert described["range"] == [metric.lower_bound, metric.upper_bound]


def test_an_unknown_name_gets_the_nearest_of_all_kinds() -> None:
    with pytest.raises(SpecError, match="did you mean 'splitfed_v1'"):
        describe("splitfed1")
