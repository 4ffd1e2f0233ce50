"""Retrieval: answer with the own sample whose smashed data are nearest to what was heard.

Adversary: a party that hears the smashed data z of the targets, holds samples x_j of its own (aux)
and can put them through the deployed, defended client f (release). It knows no weights and no
labels.

Idea (the nearest-neighbor rule of Cover and Hart 1967, in the space of smashed data):
    x = x_j  with  j = argmin_j  distance(f(x_j), z).
It learns nothing, costs one release of aux, and returns a real image; what it can reach is limited
by how close the nearest own image is. So its score is shown beside the prior-only baselines of
every reconstruction (`sltoolkit.referee.baselines`), although it hears the wire.

R releases of one target are averaged, and so are those of each own sample: for the squared
Euclidean distance, that is the same as averaging the distances over the target's releases.

The distance is `euclidean`, the `cosine` (which ignores the length that clipping changes), or
Euclidean between units `standardized` by their spread over aux (so that a few loud units do not
decide alone); a rehearsal on own samples chooses. No paper fixes one.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from sltoolkit.adversary.nearest import DISTANCES, Distance, nearest
from sltoolkit.attacks.inversion._query import QueryView
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class Retrieval(Attack[QueryView]):
    """Return the nearest own sample."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = QueryView
    citation: ClassVar[str] = (
        "Cover, Hart 1967, Nearest neighbor pattern classification (IEEE Trans. Inf. Theory)"
    )

    distance: Annotated[
        Distance | None, Parameter("in the space of smashed data; None rehearses", grid=DISTANCES)
    ] = None

    def run(self, view: QueryView, *, rng: Stream) -> Reconstruction:
        """Look every target up; `distance` among the diagnostics is the mean distance."""
        own = view.release.mean(view.aux.x, repeats=len(view.smashed))
        found, distance = nearest(view.smashed.mean(0), own, self.distance or DISTANCES[0])
        return Reconstruction(
            images=view.aux.x[found], diagnostics={"distance": float(distance.mean())}
        )
