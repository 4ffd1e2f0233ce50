"""The code in the documentation works: Python runs, experiments and commands are valid."""

import re
import shlex
import tomllib
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from support.pages import PAGES, ROOT, blocks, page_text, run
from typer.core import TyperGroup

from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.spec import load_spec
from sltoolkit.cli.app import app
from sltoolkit.errors import SpecError

_INLINE = re.compile(r"(?<!`)`(sltoolkit [^`]+)`(?!`)")
_FILES = ("benchmarks/", "notebooks/", "reproductions/", "scripts/")
_MINIMAL: dict[str, Any] = {
    "seeds": [0], "data": {"name": "photos"}, "model": {"name": "lenet", "cut": "conv1"},
    "attack": [{"name": "decoder"}],
}  # fmt: skip
"""Completes an experiment of which a page shows only some tables."""

_WITH_PYTHON = [name for name in PAGES if name != "README.md" and blocks(page_text(name), "python")]
_WITH_TOML = [name for name in PAGES if name != "README.md" and blocks(page_text(name), "toml")]


@pytest.mark.parametrize("name", _WITH_PYTHON)
def test_the_python_on_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(blocks(page_text(name), "python"), tmp_path)


@pytest.mark.parametrize("name", _WITH_TOML)
def test_the_experiments_on_a_page_are_valid(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page_text(name), "toml"):
        try:
            plan = plan_of(load_spec(_MINIMAL | tomllib.loads(block.text)))
        except SpecError as error:
            pytest.fail(f"{name}, the experiment after line {block.line}: {error}")
        assert plan.cells


def commands(markdown: str) -> list[list[str]]:
    """The words of every command line on a page, without environment variables before it."""
    lines = "\n".join(block.text for block in blocks(markdown, "")).replace("\\\n", " ")
    shown = [*lines.splitlines(), *_INLINE.findall(markdown)]
    split = (shlex.split(line, comments=True) for part in shown for line in part.split("&&"))
    found = []
    for words in split:
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        found.append(words)
    return [words for words in found if words]


def wrong(words: list[str]) -> str | None:
    """Why a command line can't be typed in this form, or None if it can. Nothing is executed."""
    for word in words:
        if word.startswith(_FILES) and "NAME" not in word and not (ROOT / word).exists():
            return f"there is no {word}"
    if words[0] != "sltoolkit":
        return None
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    for each in command.commands.values():
        each.callback = lambda **_: None
    said = StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as left:
        command.main(words[1:], prog_name="sltoolkit")
    return said.getvalue() if left.value.code else None


@pytest.mark.parametrize("name", [name for name in PAGES if commands(page_text(name))])
def test_the_commands_on_a_page_exist(name: str) -> None:
    found = {shlex.join(words): wrong(words) for words in commands(page_text(name))}
    assert not {line: reason for line, reason in found.items() if reason}


def test_wrong_commands_are_found() -> None:
    page = (
        "`sltoolkit list attacks`, `sltoolkit list ghosts`\n```\nsltoolkit train\n"
        "A=1 sltoolkit bench x.toml --wrokers 2\npython benchmarks/gone.py\n```\n"
    )
    reasons = [wrong(words) for words in commands(page)]
    assert [reason is None for reason in reasons] == [False, False, False, True, False]
