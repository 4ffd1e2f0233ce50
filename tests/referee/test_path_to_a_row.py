"""A reader can follow smashed data from the client's forward pass to a row of results."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from support.scripted_attacks import Says, mean_of_aux
from support.toys import CUT, QUICK, TARGETS, network, split

import sltoolkit as sl
from sltoolkit import api
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.referee import judge
from sltoolkit.training.checkpoint import save_victim
from sltoolkit.training.deployed import Deployed

MOST = 16
"""How many modules a reader has to open; the referee's self-check and `truth` are among them."""


def passed(doing: Callable[[], object]) -> list[str]:
    """Modules of the package whose functions run from the first smashed data on, in order.

    What runs while the attack is at work is the attack's own and isn't counted, nor are methods
    that dataclasses write, since nobody reads them.
    """
    found: dict[str, None] = {}
    begun, working = False, 0

    def note(code: CodeType, frame: FrameType) -> None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("sltoolkit.") and code.co_filename != "<string>":
            found[name] = None

    def see(frame: FrameType, event: str, _: Any) -> None:
        nonlocal begun, working
        code = frame.f_code
        if code is judge._outcome.__code__ and event in ("call", "return"):
            working += 1 if event == "call" else -1
        if event == "call" and code is Deployed.smash.__code__ and not begun:
            begun = True
            above: FrameType | None = frame
            while above is not None:  # the caller continues afterwards
                note(above.f_code, above)
                above = above.f_back
        if begun and not working and event == "call":
            note(code, frame)

    sys.setprofile(see)
    try:
        doing()
    finally:
        sys.setprofile(None)
    return list(found)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> sl.Victim:
    """A victim as the bench loads it: from the disk, with its baselines."""
    settings: dict[str, Any] = {
        "cut": CUT, "protocol": sl.Vanilla(), "defense": sl.NoDefense(), "seed": 0,
        "training": QUICK, "targets": TARGETS,
    }  # fmt: skip
    victim = api.train(network, split(), **settings)
    judge.prepare(victim, Says(answer=mean_of_aux))
    path: Path = tmp_path_factory.mktemp("stored") / "victim.safetensors"
    save_victim(victim, path)
    return api.restored(path, network, split(), **settings)


ATTACKS = [Says(answer=mean_of_aux), *(kind.smoke() for kind in (
    sl.UnSplit, sl.WhiteBox, sl.Decoder, sl.Regression, sl.Retrieval,
))]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: type(attack).__name__)
def test_from_the_clients_forward_to_a_row_few_modules_are_passed(
    stored: sl.Victim, attack: AnyAttack
) -> None:
    grants = ("aux", "client_arch", "client_weights", "release")
    assert not api.attack(stored, attack, grants=grants).rows().empty  # looks up versions
    found = passed(lambda: api.attack(stored, attack, grants=grants).rows())
    assert found[0] == "sltoolkit.training.deployed"
    assert {"sltoolkit.referee.judge", "sltoolkit.referee.scoring"} <= set(found)
    assert "sltoolkit.rows.build" in found
    assert len(found) <= MOST, found
