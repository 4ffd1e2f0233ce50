"""What is handed over to an attack's own process, obeyed in this one, which is faster."""

import pickle
from dataclasses import dataclass
from typing import Any, final

import torch

from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.referee import apart, isolated
from sltoolkit.referee.reports import heard
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.attacks import ReleaseView, Toy
from sltoolkit.wire.frames import packed, unpacked

CPU = torch.device("cpu")


@final
class Loop:
    """A connection whose other end is this process: queries are answered at once."""

    def __init__(self, release: Any) -> None:
        self._release, self._answers = release, list[bytes]()

    def send_bytes(self, data: bytes) -> None:
        record, tensors = unpacked(data, CPU)
        assert record == {"kind": "query"}
        self._answers.append(packed(*isolated._answer(self._release, tensors)))

    def recv_bytes(self) -> bytes:
        return self._answers.pop()


def looped(attack: Attack[Any], view: Any, *, seed: int, device: torch.device) -> Outcome:
    """What `run_isolated` does, without a process."""
    connection: Any = Loop(getattr(view, "release", None))
    report = apart.obey(pickle.loads(isolated._written(attack, view, seed)), connection)
    return heard(*unpacked(packed(*report), device))


@final
@dataclass(frozen=True, kw_only=True)
class AsksWrongly(Toy):
    """Asks the deployed client for what it can't answer, and says what it heard."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Gray images if the client said no."""
        try:
            view.release(view.aux.x[:, :, :3, 0])
        except RuntimeError as e:
            said = float("input" in str(e))
            return Reconstruction(images=0 * view.aux.x[: view.smashed.shape[1]] + said)
        raise AssertionError("it was answered")
