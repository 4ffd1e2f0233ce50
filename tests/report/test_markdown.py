"""Docstrings and tables as Markdown."""

from sltoolkit.report.markdown import code, first_sentence, prose, table, without_sections


def test_indented_lines_become_code_and_numbered_ones_a_list_of_its_own() -> None:
    text = (
        "Idea (Somebody 1999): find\n    min over x   |f(x)|,\nwith f < g.\n\n"
        "Departures from the paper:\n1. One\n   goes on.\n2. Two."
    )
    assert prose(text) == (
        "**Idea** (Somebody 1999): find\n\n```text\nmin over x   |f(x)|,\n```\n\nwith f &lt; g.\n\n"
        "**Departures** from the paper:\n\n1. One\n   goes on.\n2. Two."
    )


def test_code_keeps_the_shape_of_its_lines() -> None:
    assert prose("    a\n      b") == "```text\na\n  b\n```"


def test_sections_become_lists() -> None:
    text = "Args:\n    x: one,\n        of many.\n    y: two <3>."
    assert prose(text) == "**Args:**\n\n- `x`: one,\n  of many.\n- `y`: two &lt;3>."


def test_a_section_without_names_is_prose() -> None:
    assert prose("Returns:\n    (n,) float64.") == "**Returns:**\n\n(n,) float64."


def test_sections_can_be_left_out() -> None:
    assert without_sections("What.\n\nMore.\n\nAttributes:\n    x: one.") == "What.\n\nMore."


def test_a_word_that_only_looks_like_a_label_stays_plain() -> None:
    assert prose("Rates fall.") == "Rates fall."


def test_html_is_escaped_outside_code_alone() -> None:
    assert prose("a <b> `c<d>`") == "a &lt;b> `c<d>`"


def test_a_cell_holds_any_text() -> None:
    rows = [("a|b", ""), ("two\n lines", "c")]
    assert table(("x", "y"), rows) == ("| x | y |\n| --- | --- |\n| a\\|b | - |\n| two lines | c |")


def test_the_first_sentence_ends_at_its_period_and_not_at_an_abbreviation() -> None:
    assert first_sentence("One (Gao et al. 2023),\nand two. Three.\n\nFour.") == (
        "One (Gao et al. 2023), and two"
    )


def test_names_are_listed_as_code() -> None:
    assert code(["a", "b"]) == "`a`, `b`"
    assert code([]) == ""
