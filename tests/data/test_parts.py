"""Parts that are given apart: arrays, data sets, files, folders, pools, samples and ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sltoolkit.data.parts import parts
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.data.registry import pool
from sltoolkit.data.samples import Split
from sltoolkit.data.split import split
from sltoolkit.errors import DataError

SIZES = {"train": 40, "holdout": 20, "aux": 30}
BYTES = np.random.default_rng(0).integers(0, 256, (90, 1, 8, 8)).astype(np.uint8)
LABELS = np.arange(90) % 3
AT = {"train": slice(0, 40), "holdout": slice(40, 60), "aux": slice(60, 90)}


def _arrays(part: str, _: Path) -> Any:
    return BYTES[AT[part]], LABELS[AT[part]]


def _pool(part: str, _: Path) -> Any:
    return from_arrays(BYTES[AT[part]], LABELS[AT[part]])


def _dataset(part: str, _: Path) -> Any:
    return list(zip(BYTES[AT[part]], LABELS[AT[part]].tolist(), strict=True))


def _file(part: str, folder: Path) -> Any:
    np.savez(folder / f"{part}.npz", x=BYTES[AT[part]], y=LABELS[AT[part]])
    return folder / f"{part}.npz"


def _folder(part: str, folder: Path) -> Any:
    for i in range(90)[AT[part]]:
        path = folder / part / str(LABELS[i]) / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(BYTES[i, 0]).save(path)
    return str(folder / part)


def _given(how: Any, folder: Path) -> dict[str, Any]:
    return {part: how(part, folder) for part in SIZES}


def _held(made: Split) -> dict[str, Any]:
    return dict(zip(SIZES, (made.private_train, made.private_holdout, made.aux), strict=True))


@pytest.mark.parametrize("how", [_arrays, _pool, _dataset, _file, _folder])
def test_each_part_holds_what_was_given_under_its_own_ids(how: Any, tmp_path: Path) -> None:
    made = parts(**_given(how, tmp_path))
    assert not made.drawn
    assert made.classes == ("0", "1", "2")
    for part, samples in _held(made).items():
        expected = sorted(
            zip(LABELS[AT[part]], BYTES[AT[part]].reshape(-1, 64).tolist(), strict=True)
        )
        pixels = (samples.x.flatten(1) * 255).round().long().tolist()
        assert sorted(zip(samples.y.tolist(), pixels, strict=True)) == expected
    ids = torch.cat([s.ids for s in _held(made).values()])
    assert len(ids.unique()) == 90
    assert torch.equal(ids, torch.cat([s.groups for s in _held(made).values()]))


def test_ids_of_a_pool_choose_its_samples() -> None:
    whole = pool("digits")
    ids = {
        "train": np.arange(700, 1100),
        "holdout": list(range(100)),
        "aux": torch.arange(100, 300),
    }
    made = parts(**ids, pool=whole)  # type: ignore[arg-type]
    for part, samples in _held(made).items():
        assert samples.ids.tolist() == list(map(int, ids[part]))  # type: ignore[call-overload]
        assert torch.equal(samples.x, whole.samples.x[torch.as_tensor(ids[part])])
    assert made.name == "digits"
    with pytest.raises(DataError, match="holdout: of the 2 source ids, 1 aren't in digits"):
        parts(**{**ids, "holdout": [5, 9999]}, pool=whole)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="3 source ids, none, or some twice"):
        parts(**{**ids, "aux": [105, 106, 105]}, pool=whole)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="share ids"):
        parts(**{**ids, "aux": [99]}, pool=whole)  # type: ignore[arg-type]


def test_samples_of_a_split_keep_their_ids() -> None:
    drawn = split(pool("digits"), train=300, holdout=100, aux=100)
    assert drawn.drawn
    made = parts(
        train=drawn.private_train, holdout=drawn.private_holdout, aux=drawn.aux,
        classes=drawn.classes, name=drawn.name,
    )  # fmt: skip
    assert made.digests == drawn.digests
    assert made.classes == drawn.classes
    assert not made.drawn


def test_patients_that_are_stated_stay_stated() -> None:
    def some(part: str, first: int) -> Pool:
        patients = first + np.arange(SIZES[part]) // 2
        return from_arrays(BYTES[AT[part]], LABELS[AT[part]], groups=patients)

    given = {"train": some("train", 0), "holdout": some("holdout", 20), "aux": some("aux", 50)}
    made = parts(**given)  # type: ignore[arg-type]
    assert made.private_holdout.groups.tolist() == (20 + np.arange(20) // 2).tolist()
    with pytest.raises(DataError, match="share groups with aux"):
        parts(**{**given, "aux": some("aux", 19)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aux": (BYTES[:5], LABELS[:5])}, "equal private ones"),
        ({"holdout": (BYTES[:5], LABELS[:5])}, "5 of 5 samples of the holdout equal training"),
        (
            {"aux": (BYTES[60:, :, 1:], LABELS[60:])},
            r"shape \(1, 7, 8\), private_train \(1, 8, 8\)",
        ),
        ({"holdout": (BYTES[40:60], LABELS[40:60] + 5)}, "the class '5', but the classes are 0, 1"),
        ({"train": BYTES[:40]}, r"lone array: give inputs and labels, \(x, y\)"),
    ],
)
def test_what_is_not_held_out_or_does_not_fit_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        parts(**{**_given(_arrays, tmp_path), **change})


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    given = _given(_folder, tmp_path)
    for path in (tmp_path / "holdout" / "0").iterdir():
        path.unlink()
    (tmp_path / "holdout" / "0").rmdir()
    made = parts(**given)
    assert set(made.private_holdout.y.tolist()) == {1, 2}


def test_files_that_pose_as_other_samples_get_their_own_numbers() -> None:
    one = from_arrays(BYTES[:40], LABELS[:40])
    other = from_arrays(BYTES[40:60], LABELS[40:60], ids=1000 + np.arange(20))
    made = parts(train=one, holdout=other, aux=(BYTES[60:], LABELS[60:]))
    assert made.private_holdout.ids.tolist() == list(range(1000, 1020))
    assert not torch.isin(
        made.aux.ids, torch.cat([made.private_train.ids, other.samples.ids])
    ).any()
    assert replace(made, aux=made.aux[:3]).drawn is False
