"""Differentially private release of smashed data.

Adversary: any receiver of smashed data, in training and from the deployed client, with any
auxiliary knowledge.

Idea (the Gaussian mechanism on clipped activations): each example x of a batch, on its own, becomes

    M(x) = clip_C(f(x)) + N(0, sigma^2 I),   clip_C(v) = v min(1, C / |v|_2),

with the norm over all numbers of the example. Something is always sent, so neighbors replace an
example rather than add or remove one, and the l2 sensitivity is Delta = 2C. sigma is calibrated
exactly (`sltoolkit.privacy.gaussian`), not by the textbook formula.

Symbols: C = `clip`; `epsilon` and `delta` hold for *one* release of an example. k releases (its
training epochs, repeated queries) equal one release with sigma / sqrt(k); `guarantee` states what
is left after any number of them. Nothing is gained from subsampling, because the receiver sees
which batch held the example.

Clip and noise act in every phase. A client that mixes the examples of a batch is refused
(`sltoolkit.training.mixing` measures it), because one example would change the smashed data of its
whole batch, which this sensitivity doesn't cover.

Source: Dwork and Roth 2014 (clip and Gaussian mechanism), Balle and Wang 2018 (calibration).
Departures: none; this is the plain mechanism, not a particular paper's variant of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.defenses.smashed._noise import gaussian_like, measured_std
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.privacy import Guarantee, compose, epsilon_of, noise_for
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class DPActivations(Defense):
    """Per-example clipping and calibrated Gaussian noise.

    Attributes:
        sigma: the standard deviation of the noise, which follows from the parameters.
    """

    citation: ClassVar[str] = (
        "Balle & Wang 2018, Improving the Gaussian mechanism for differential privacy "
        "(ICML, arXiv:1805.06530)"
    )
    strength: ClassVar[str] = "epsilon"
    post_processes: ClassVar[bool] = True

    epsilon: Annotated[
        float, Parameter("privacy parameter of one release; smaller is more private", above=0)
    ] = 10.0
    delta: Annotated[float, Parameter("privacy parameter of one release", above=0, below=1)] = 1e-5
    clip: Annotated[
        float,
        Parameter(
            "l2 norm C to which each example is clipped, in units of the smashed data", above=0
        ),
    ] = 1.0
    sigma: float = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sigma = 2 * self.clip * noise_for(self.epsilon, self.delta)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Clip each example, and add fresh noise."""
        return clipped(z, self.clip) + self.sigma * gaussian_like(z, turn.rng)

    def up_to_guarantee(self, z: Tensor, turn: Turn) -> Tensor:
        """The clipped examples: noise would round a faint mixture of them away."""
        return clipped(z, self.clip)

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """What holds after `releases` releases of one example; None for no release.

        Raises:
            SpecError: if `releases` is negative or `delta` isn't strictly between 0 and 1.
        """
        if releases == 0:
            return None
        ratio = compose(self.sigma / (2 * self.clip), releases)
        return Guarantee(
            mechanism=(
                f"per-example l2 clipping to {self.clip:g} and Gaussian noise of standard "
                f"deviation {self.sigma:.4g}"
            ),
            released="its smashed data",
            unit="one example",
            neighbors="replacement of the example",
            epsilon=epsilon_of(delta, ratio),
            delta=delta,
            releases=releases,
            accountant="analytic Gaussian, exact composition, no subsampling assumed",
            limits=(
                "labels; gradients; the client's weights, which learn from unprotected inputs and "
                "are taken as known; several correlated examples of one person; "
                "floating-point effects"
            ),
        )

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """`noise_std` around the clipped examples, and the `clipped_fraction` of examples."""
        examples = clean.flatten(0, 1)
        bounded = clipped(examples, self.clip)
        shrunk = _norms(examples) > self.clip
        return {
            **super().evidence(clean, sent),
            "noise_std": measured_std(bounded, sent.flatten(0, 1)),
            "clipped_fraction": float(shrunk.double().mean()),
        }


def clipped(z: Tensor, bound: float) -> Tensor:
    """Each example of (B, ...) scaled down to an l2 norm of at most `bound`."""
    scale = bound / _norms(z).clamp(min=bound)
    return z * scale.reshape(-1, *[1] * (z.dim() - 1))


def _norms(z: Tensor) -> Tensor:
    """(B,) l2 norms over all numbers of each example."""
    norms: Tensor = torch.linalg.vector_norm(z.flatten(1), dim=1)
    return norms
