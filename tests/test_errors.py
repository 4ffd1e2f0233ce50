"""Errors: one base class, and hints at the intended name."""

import pytest

from sltoolkit import errors
from sltoolkit.errors import SLToolkitError, SpecError, lookup, nearest

KNOWN = {"whitebox": 1, "decoder": 2, "shadow": 3}


@pytest.mark.parametrize(
    "name", ["SpecError", "ThreatModelError", "ProtocolError", "DataError", "StoreError"]
)
def test_every_error_of_a_user_has_one_base_and_is_drawn_in_the_tree(name: str) -> None:
    kind = getattr(errors, name)

    assert issubclass(kind, SLToolkitError)
    assert name in (errors.__doc__ or "")


def test_what_is_known_is_found() -> None:
    assert lookup(KNOWN, "decoder", "attack") == 2


def test_what_is_misspelled_gets_the_nearest_and_all_the_others() -> None:
    with pytest.raises(SpecError) as raised:
        lookup(KNOWN, "white_box", "attack")

    assert str(raised.value) == (
        "no attack is called 'white_box'; did you mean 'whitebox'? "
        "(known: decoder, shadow, whitebox)"
    )


def test_far_off_and_empty_registries_give_no_hint() -> None:
    assert nearest("xyz", KNOWN) == ""
    assert nearest("decoder", []) == ""
    with pytest.raises(SpecError, match=r"no attack is called 'x' \(known: \)"):
        lookup({}, "x", "attack")
