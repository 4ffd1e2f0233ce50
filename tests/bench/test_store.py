"""The store: every file in it is complete."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sltoolkit.bench import store as storing
from sltoolkit.bench.store import Store
from sltoolkit.errors import StoreError

CELL: dict[str, Any] = {"status": "ok", "reason": "", "tuned": {}, "rows": [{"value": 1.5}]}
IMAGES = {"images": torch.arange(6.0).reshape(2, 1, 1, 3)}


class CrashError(Exception):
    """The process ends here."""


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_was_put_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "store")
    assert not store.has_cell("a")
    store.put_cell("a", CELL, IMAGES)
    assert store.has_cell("a")
    assert store.cell("a") == CELL
    assert torch.equal(store.images("a")["images"], IMAGES["images"])
    assert store.images("b") == {}
    store.drop_cell("a")
    store.drop_cell("a")
    assert not store.has_cell("a")


def test_a_crash_while_writing_leaves_nothing_partial(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def crash(path: Path) -> None:
        path.write_bytes(b"half of it")
        raise CrashError

    with pytest.raises(CrashError):
        store.put_victim("v", crash)
    assert not store.has_victim("v")
    assert files(tmp_path) == []


def test_a_crash_does_not_damage_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.put_text("spec.json", "before")

    def crash(path: Path, text: str) -> None:
        path.write_text(text[:2])
        raise CrashError

    monkeypatch.setattr(storing, "_write", crash)
    with pytest.raises(CrashError):
        store.put_text("spec.json", "after")
    assert (tmp_path / "spec.json").read_text() == "before"
    assert files(tmp_path) == ["spec.json"]


def test_a_cell_appears_only_after_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    seen: list[tuple[bool, bool]] = []

    def watched(flat: dict[str, torch.Tensor], path: Path) -> None:
        seen.append((store.has_cell("a"), path.name.startswith(".tmp-")))
        raise CrashError

    monkeypatch.setattr(storing, "save_file", watched)
    with pytest.raises(CrashError):
        store.put_cell("a", CELL, IMAGES)
    assert seen == [(False, True)]
    assert not store.has_cell("a")


def test_drafts_that_a_killed_process_left_are_ignored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for part in ("victims", "cells", "images"):
        for suffix in (".json", ".safetensors"):
            (tmp_path / part / f".tmp-xyz{suffix}").write_text("{")
    store.put_cell("a", CELL, IMAGES)
    assert store.cell("a") == CELL
    assert not store.has_cell(".tmp-abc")


@pytest.mark.parametrize("text", ["", '{"rows": [', "\x00"])
def test_a_damaged_cell_is_named_and_what_to_do(text: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "cells" / "a.json").write_text(text)
    with pytest.raises(StoreError, match=r"a\.json can't be read .* delete it"):
        store.cell("a")
    with pytest.raises(StoreError, match="delete it"):
        store.cell("absent")


def test_a_folder_that_can_not_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't write results to"):
        Store(tmp_path / "file" / "store")
