"""Attacks for processes of their own, at the top level of a module that can be imported."""

import os
from dataclasses import dataclass
from typing import final

from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.attacks import ReleaseView, Toy


@final
@dataclass(frozen=True, kw_only=True)
class Ends(Toy):
    """Ends its process."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Never returns."""
        os._exit(7)


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
