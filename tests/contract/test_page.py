"""The page on the contract suite: its code runs, and its lists agree with the rules."""

import re
from pathlib import Path

import pytest

from sltoolkit.testing import sources

PAGE = (Path(__file__).parents[2] / "docs/extend/contract_suite.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_its_code_runs_and_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    namespace = {"__name__": "page"}
    for block in blocks("python"):
        exec(block, namespace)
    assert [capsys.readouterr().out] == blocks("text")


@pytest.mark.parametrize(
    ("what", "rules"), [("an attack", sources.ATTACKS), ("a defense", sources.DEFENSES)]
)
def test_its_lists_are_the_rules(what: str, rules: sources.Rules) -> None:
    (listed,) = re.findall(rf"^- {what}: (.*?)[;.]$", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(.*?)`", listed)) == rules.rooms
