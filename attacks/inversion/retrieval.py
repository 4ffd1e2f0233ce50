"""Retrieval: answer with the own sample whose smashed data are nearest to what was heard.

Adversary: whoever hears the smashed data z of the targets, holds samples x_j of its own (aux) and
can put them through the deployed, defended client f (release). It knows no weights and no labels.

Idea (the nearest-neighbor rule of Cover and Hart 1967, in the space of smashed data):
    x = x_j  with  j = argmin_j  distance(f(x_j), z).
It learns nothing, costs one release of aux, and returns a real image; what it can reach is limited
by how close the nearest own image is. So it is shown beside the prior-only baselines of every
reconstruction (`sltoolkit.referee.baselines`), although it hears the wire.

R releases of one target are averaged, and so are those of each own sample: for the squared
Euclidean distance, that is the same as averaging the distances over the target's releases.

The distance is `euclidean`, the `cosine` (which ignores the length that clipping changes), or
Euclidean between units `standardized` by their spread over aux (so that a few loud units do not
decide alone); a rehearsal on own samples chooses. No paper fixes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

from torch import Tensor

from sltoolkit.adversary.nearest import DISTANCES, Distance, nearest
from sltoolkit.adversary.rehearsal import chosen
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalView:
    """What retrieval needs: what was heard, queries, and samples of its own."""

    smashed: Tensor
    release: Release
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class Retrieval(Attack[RetrievalView]):
    """Return the nearest own sample.

    Attributes:
        distance: `euclidean`, `cosine` or `standardized`; None rehearses.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = RetrievalView
    citation: ClassVar[str] = (
        "Cover, Hart 1967, Nearest neighbor pattern classification (IEEE Trans. Inf. Theory)"
    )

    distance: Distance | None = None

    @property
    def rehearses(self) -> bool:
        """Unless the distance is given."""
        return self.distance is None

    def run(self, view: RetrievalView, *, rng: Stream) -> Reconstruction:
        """Look every target up; `distance` among the diagnostics is the mean distance.

        Raises:
            SpecError: if the distance is unknown, or there are fewer than two samples to rehearse.
        """
        fixed = self.tune(view, rng=rng.child("rehearsal"))
        own = view.release.mean(view.aux.x, repeats=len(view.smashed))
        found, distance = nearest(view.smashed.mean(0), own, fixed.distance or "euclidean")
        return Reconstruction(
            images=view.aux.x[found],
            tuned=chosen(self, fixed),
            diagnostics={"distance": float(distance.mean())},
        )

    def candidates(self, view: RetrievalView) -> Sequence[Self]:
        """One per distance, unless it is given."""
        if self.distance is not None:
            return (self,)
        return [replace(self, distance=distance) for distance in DISTANCES]
