"""Retrieval: answer with the aux sample whose smashed data are nearest to what was heard.

Adversary: a party that hears the smashed data z of the targets, holds samples x_j of its own (aux)
and can put them through the deployed, defended client f (release). It knows no weights and no
labels.

Idea (the nearest-neighbor rule of Cover and Hart 1967, in the space of smashed data):
    x = x_j  with  j = argmin_j  distance(f(x_j), z).
The attack learns nothing, costs one release of aux, and returns a real image. It can do no better
than the nearest image in aux. So its score is shown beside the prior-only baselines of every
reconstruction (`sltoolkit.referee.baselines`), although it hears the wire.

R releases of one target are averaged, and so are R releases of each aux sample. For the squared
Euclidean distance, this is the same as averaging the distances over the target's releases.

The distance is `euclidean`, `cosine` (which ignores the length, so that clipping changes nothing),
or `standardized`: Euclidean after each unit is divided by its spread over aux, so that a few loud
units do not decide alone. A rehearsal on aux samples chooses; no paper fixes a distance.
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
    """Return the nearest aux sample."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = QueryView
    citation: ClassVar[str] = (
        "Cover, Hart 1967, Nearest neighbor pattern classification (IEEE Trans. Inf. Theory)"
    )

    distance: Annotated[
        Distance | None, Parameter("the distance between smashed data", grid=DISTANCES)
    ] = None

    def run(self, view: QueryView, *, rng: Stream) -> Reconstruction:
        """Look every target up; the diagnostic `distance` is the mean over targets."""
        own = view.release.mean(view.aux.x, repeats=len(view.smashed))
        found, distance = nearest(view.smashed.mean(0), own, self.distance or DISTANCES[0])
        return Reconstruction(
            images=view.aux.x[found], diagnostics={"distance": float(distance.mean())}
        )
