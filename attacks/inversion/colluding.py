"""Colluding: a server and one client against another client.

Adversary: a server that hears a client's smashed data z, and another client that hands it its own
network and, where every client has a network of its own, its own private samples.

Idea (Pham et al. 2023; the inversion of He, Zhang and Lee 2019): split learning mostly
gives all clients the same network, by hand-over or averaging. Then the colluder's network is the
target's, and this attack is the white box, exactly: `Colluding` finds what `WhiteBox` finds. Where
client networks stay private (no hand-over, SplitFed V3), the colluder's is only one that the same
server learned to read, and what this attack finds by inverting it says what the privacy is worth.

The colluder's samples join aux for the white box's rehearsal. Where queries are granted, the
rehearsal uses the target's release, so that it tells how much to smooth through another client's
network; else it uses the colluder's own, defended as far as the defense's public parameters
(mechanism) are known.

Departures from the paper:
1. Its colluder trains a decoder on its own samples; here the white box inverts its network, which
   needs no samples. With queries, a decoder trained on the target's own answers is the `decoder`
   attack.
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
    """What a server holds with another client on its side."""

    smashed: Tensor
    peer_weights: nn.Module
    task: Task
    peer_samples: Aux | None
    aux: Aux | None
    release: Release | None
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True)
class Colluding(Attack[ColludingView]):
    """Reconstruct one client's inputs through another one's network.

    The white box rehearses what is None of its own parameters, on its own view.
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
        """Three steps."""
        return cls(inversion=WhiteBox.smoke())

    def candidates(self, view: ColludingView) -> Sequence[Self]:
        """Itself: the white box rehearses."""
        return (self,)

    def run(self, view: ColludingView, *, rng: Stream) -> Reconstruction:
        """Invert the peer's network.

        Raises:
            ThreatModelError: if `inversion.forward` asks for a mechanism that is not granted.
        """
        release = view.release
        if release is None and view.peer_samples is not None:
            release = released(view.peer_weights.eval(), view.mechanism, rng.child("peer"))
        seen = WhiteBoxView(
            smashed=view.smashed, client_weights=_held(view), task=view.task,
            aux=_pooled(view.aux, view.peer_samples), release=release, mechanism=view.mechanism,
        )  # fmt: skip
        inversion = tuned(self.inversion, seen, rng=rng.child("rehearsal"))
        found = inversion.run(seen, rng=rng)
        return replace(found, tuned=chosen(self, replace(self, inversion=inversion)))


def _held(view: ColludingView) -> nn.Module:
    """The peer's network; a stand-in where it isn't what is released as the target's is."""
    shared = view.peer_samples is None
    own_release = view.release is None and view.mechanism is not None
    return view.peer_weights if shared or own_release else StandIn(view.peer_weights)


def _pooled(aux: Aux | None, more: Aux | None) -> Aux | None:
    """Both parties' samples."""
    if aux is None or more is None:
        return more if aux is None else aux
    return Aux(x=torch.cat([aux.x, more.x]), y=torch.cat([aux.y, more.y]))
