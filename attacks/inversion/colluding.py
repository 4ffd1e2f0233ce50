"""Colluding: a server and one client against another client.

Adversary: a server that hears a client's smashed data z, together with a second client, the
colluder. The colluder gives the server its own network. If every client has a network of its own,
it also gives its own private samples.

Idea (Pham et al. 2023; the inversion of He, Zhang and Lee 2019): split learning mostly
gives all clients the same network, by hand-over or averaging. Then the colluder's network is the
target's, and `Colluding` finds exactly what `WhiteBox` finds. If client networks stay private (no
hand-over, SplitFed V3), the colluder's network is only another one that the same server learned to
read. What the attack finds by inverting it shows how much that privacy protects.

For the white box's rehearsal, the colluder's samples join aux. If queries are granted, the
rehearsal uses the target's release, which shows how much to smooth through another client's
network. Otherwise it uses the colluder's own release, with the defense if its public parameters
(mechanism) are known.

Departures from the paper:
1. The paper's colluder trains a decoder on its own samples. Here the white box inverts the
   colluder's network, which needs no samples. (If queries are granted, the `decoder` attack trains
   a decoder on the target's own answers.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.rehearsal import tuned
from sltoolkit.attacks.inversion._observation import StandIn, WhiteBoxView, released
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parameters.grids import chosen
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

_WHITE_BOX = WhiteBox()


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ColludingView:
    """What a server holds together with a colluding client."""

    smashed: Tensor
    peer_weights: nn.Module
    task: Task
    peer_samples: Aux | None
    aux: Aux | None
    release: Release | None
    mechanism: Callable[[Stream], Defense] | None
    labels: Tensor | None


@final
@dataclass(frozen=True, kw_only=True)
class Colluding(Attack[ColludingView]):
    """Reconstruct one client's inputs through another client's network.

    The white box chooses those of its parameters that are None by a rehearsal of its own.
    """

    roles: ClassVar[tuple[Role, ...]] = ("colluding",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ColludingView
    citation: ClassVar[str] = (
        "Pham et al. 2023, Split learning without local weight sharing to enhance client-side data "
        "privacy (arXiv:2212.00250)"
    )

    inversion: Annotated[WhiteBox, Parameter("how the peer's network is inverted")] = _WHITE_BOX

    @classmethod
    def smoke(cls) -> Self:
        """Three steps of the white box."""
        return cls(inversion=WhiteBox.smoke())

    def candidates(self, view: ColludingView) -> Sequence[Self]:
        """Only the attack itself: the white box rehearses in `run`."""
        return (self,)

    def run(self, view: ColludingView, *, rng: Stream) -> Reconstruction:
        """Invert the peer's network.

        Raises:
            ThreatModelError: if `inversion.forward` asks for a mechanism that is not granted.
        """
        release, inversion = view.release, self.inversion
        if release is None and view.peer_samples is not None:
            inversion = inversion.without_decoder()
            release = released(view.peer_weights.eval(), view.mechanism, rng.child("peer"))
        seen = WhiteBoxView(
            smashed=view.smashed, client_weights=_held(view), task=view.task,
            aux=_pooled(view.aux, view.peer_samples), release=release, mechanism=view.mechanism,
            labels=view.labels,
        )  # fmt: skip
        inversion = tuned(inversion, seen, rng=rng.child("rehearsal"))
        found = inversion.run(seen, rng=rng)
        return replace(found, tuned=chosen(self, replace(self, inversion=inversion)))


def _held(view: ColludingView) -> nn.Module:
    """The peer's network; marked as a stand-in unless it releases in the way the target does."""
    shared = view.peer_samples is None
    own_release = view.release is None and view.mechanism is not None
    return view.peer_weights if shared or own_release else StandIn(view.peer_weights)


def _pooled(aux: Aux | None, more: Aux | None) -> Aux | None:
    """The samples of both parties; None if neither has any."""
    if aux is None or more is None:
        return more if aux is None else aux
    return Aux(x=torch.cat([aux.x, more.x]), y=torch.cat([aux.y, more.y]))
