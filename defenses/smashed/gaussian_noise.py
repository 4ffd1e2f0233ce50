"""Gaussian noise on the smashed data.

Adversary: any receiver of smashed data, in training and from the deployed client.

Idea (Titcombe et al. 2021, with Gaussian instead of Laplace noise): the client sends

    z' = z + std * n,   n ~ N(0, I), drawn anew for every release.

Symbols: z smashed data (B, ...), std the noise's standard deviation in z's units.

Departures from the paper:

1. Gaussian noise, not Laplace (`laplace_noise` is the paper's defense).
2. The noise is always on, in training and in release; the paper also varies it after training.
3. The cut layer is not bounded here. Without a bound nothing is formally guaranteed, and a client
   that trains under noise may learn larger activations that drown it. So rate a setting by the
   attacks, not by its std. `dp_activations` bounds the cut layer and states a guarantee.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.defenses.smashed._noise import gaussian_like, measured_std
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class GaussianNoise(Defense):
    """Additive Gaussian noise, fresh per release."""

    citation: ClassVar[str] = (
        "Titcombe et al. 2021, Practical defenses against model inversion attacks for split "
        "neural networks (arXiv:2104.05743), with Gaussian noise"
    )
    strength: ClassVar[str] = "std"
    post_processes: ClassVar[bool] = True

    std: Annotated[
        float, Parameter("standard deviation of the noise, in units of the smashed data", least=0)
    ] = 0.5

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add fresh noise."""
        return z + self.std * gaussian_like(z, turn.rng)

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """`noise_std`: the standard deviation of what was added."""
        return {**super().evidence(clean, sent), "noise_std": measured_std(clean, sent)}
