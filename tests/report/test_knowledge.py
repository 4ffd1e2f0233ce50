"""What attackers know, in words and in order."""

import pytest

from sltoolkit.report.knowledge import WORDS, knowledge_of, knowledge_text, strength


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"knowledge": "aux+release+smashed"}, {"aux", "release"}),
        ({"knowledge": "labels+server_weights+smashed"}, set()),
        ({"knowledge": ""}, set()),
        ({"knowledge": "aux", "mounted": "listening"}, {"aux", "heard"}),
        ({"knowledge": "aux", "mounted": "actively"}, {"aux", "heard", "hijacks"}),
        ({"knowledge": "aux", "mounted": "after"}, {"aux"}),
    ],
)
def test_what_is_heard_anyway_is_no_knowledge_and_listening_is(
    row: dict[str, str], known: set[str]
) -> None:
    assert knowledge_of(row) == known


def test_the_strongest_is_said_first() -> None:
    assert knowledge_text(frozenset({"aux", "release"})) == "queries, own samples"
    assert knowledge_text(frozenset({"own_grant", "aux"})) == "own samples, own_grant"
    assert knowledge_text(frozenset()) == ""


def test_a_hijacker_has_heard_the_training() -> None:
    assert knowledge_text(frozenset({"heard", "hijacks"})) == WORDS["hijacks"]
    assert knowledge_text(frozenset({"heard"})) == WORDS["heard"]


def test_stronger_knowledge_sorts_first_and_none_last() -> None:
    sets = [
        frozenset[str](), frozenset({"aux"}), frozenset({"client_weights"}),
        frozenset({"release"}), frozenset({"unheard_of"}),
    ]  # fmt: skip

    ordered = sorted(sets, key=strength)

    assert [set(s) for s in ordered] == [
        {"client_weights"}, {"release"}, {"aux"}, {"unheard_of"}, set()
    ]  # fmt: skip
