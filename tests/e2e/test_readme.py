"""The README is short, its code works, and so do the helpers that test the code."""

import tomllib
from pathlib import Path

import pytest
from support.pages import blocks, page_text, run

from sltoolkit.attacks import ATTACKS
from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.spec import load_spec
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SpecError
from sltoolkit.metrics import METRICS
from sltoolkit.protocols import PROTOCOLS


@pytest.fixture
def readme() -> str:
    """The README's text."""
    return page_text("README.md")


def test_it_is_read_in_two_minutes(readme: str) -> None:
    assert len(readme.encode()) <= 6000


def test_its_test_command_is_the_one_that_ci_calls(readme: str) -> None:
    command = "pip install -c constraints.txt -e '.[test]' && pytest"
    assert command in [block.text.strip() for block in blocks(readme, "")]


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("attacks", len(ATTACKS)),
        ("defenses", len(DEFENSES) - 1),  # `none` means no defense
        ("protocols", len(PROTOCOLS)),
        ("metrics", len(METRICS)),
    ],
)
def test_it_counts_what_there_is(readme: str, kind: str, count: int) -> None:
    assert f"| [{kind}](docs/{kind}/index.md) | {count} |" in readme


def test_the_python_in_the_readme_runs(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = blocks(readme, "python")
    assert parts, "README.md shows no Python"
    monkeypatch.chdir(tmp_path)
    run(parts, tmp_path)


def test_the_experiments_in_the_readme_are_valid(readme: str) -> None:
    experiments = blocks(readme, "toml")
    assert experiments, "README.md shows no experiment"
    for block in experiments:
        try:
            plan = plan_of(load_spec(tomllib.loads(block.text)))
        except SpecError as error:
            pytest.fail(f"README.md, the experiment after line {block.line}: {error}")
        assert plan.cells


EXAMPLE = """# Title
<!-- test: epochs = 20 -> epochs = 1
     "slow" -> "quick" -->
```python
epochs = 20
kind = "slow"
```
```toml
epochs = 20
```
<!-- a remark -->
```python
if (epochs, kind) != (1, "quick"):
    raise ValueError(epochs)
```
"""


def test_blocks_run_in_order_in_one_namespace(tmp_path: Path) -> None:
    parts = blocks(EXAMPLE, "python")
    assert [block.line for block in parts] == [4, 12]
    run(parts, tmp_path)
    assert [block.text for block in blocks(EXAMPLE, "toml")] == ["epochs = 20\n"]


def test_a_failing_block_is_caught_with_the_documents_line(tmp_path: Path) -> None:
    slow = EXAMPLE.replace("<!-- test", "<!-- untested")
    with pytest.raises(ValueError, match="20") as caught:
        run(blocks(slow, "python"), tmp_path)
    assert caught.traceback[-1].lineno == 13  # counted from 0: line 14


def test_a_replacement_that_no_longer_applies_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no longer says 'epochs = 20'"):
        blocks(EXAMPLE.replace("20\nkind", "30\nkind"), "python")
