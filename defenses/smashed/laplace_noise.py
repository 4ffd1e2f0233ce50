"""Laplace noise on the smashed data.

Adversary: any receiver of smashed data, in training and from the deployed client.

Idea (Titcombe et al. 2021): the client sends

    z' = z + n,   n ~ Laplace(0, scale) independently per number, drawn anew for every release.

Symbols: z smashed data (B, ...), scale = b of the density exp(-|n|/b) / 2b; the standard
deviation is sqrt(2) b. The paper tries b in {0.1, 0.2, 0.5, 1, 2, 5}.

Departures from the paper:

1. The noise is always on, in training and in release; the paper also varies it after training.
2. The cut layer is not bounded here (the paper's ends in tanh). Even in the paper b = 1 on 500
   features would be epsilon = 1000 per release, so no guarantee is stated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.defenses.smashed._noise import laplace_like, measured_std
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class LaplaceNoise(Defense):
    """Additive Laplace noise, fresh per release."""

    citation: ClassVar[str] = (
        "Titcombe et al. 2021, Practical defenses against model inversion attacks for split "
        "neural networks (arXiv:2104.05743)"
    )
    strength: ClassVar[str] = "scale"
    post_processes: ClassVar[bool] = True

    scale: Annotated[
        float, Parameter("the Laplace distribution's b, in units of the smashed data", least=0)
    ] = 0.5

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add fresh noise."""
        return z + self.scale * laplace_like(z, turn.rng)

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """`noise_std`: the standard deviation of what was added, sqrt(2) times the scale."""
        return {**super().evidence(clean, sent), "noise_std": measured_std(clean, sent)}
