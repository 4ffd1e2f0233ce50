"""NoPeek: train the client so that smashed data say little about inputs.

Adversary: any receiver of smashed data that tries to reconstruct inputs from them.

Idea (Vepakomma et al. 2020): besides the task, the client minimizes the distance correlation of a
batch's inputs and its smashed data,

    L = CE + weight * dCor(x, z).

Symbols: x inputs, z smashed data as sent, dCor in [0, 1] with distances that are *not* squared
(`sltoolkit.metrics.correlation`); weight = alpha_1 / alpha_2 of the paper's loss
alpha_1 dCor + alpha_2 CE. Later comparisons use weights between 0.05 and 4, the authors' notebook
10,000. The privacy term reaches only the client's network; the server learns only from the task.

Departures from the paper:

1. The default weight is 1, from the range of later comparisons.
2. The loss is the biased batch estimate, as in the paper; on images it mostly measures the batch
   size against the dimension (0.997 for *independent* data at 64 samples of 3,072 numbers). Measure
   leakage by the attacks or `unbiased_distance_correlation`, never by this loss.
3. A batch of fewer than two samples has no distance correlation and adds no loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, final

from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.metrics.correlation import distance_correlation
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class NoPeek(Defense):
    """Distance correlation as a further loss of the client."""

    citation: ClassVar[str] = (
        "Vepakomma et al. 2020, NoPeek: information leakage reduction to share activations in "
        "distributed deep learning (arXiv:2008.09161)"
    )
    strength: ClassVar[str] = "weight"
    learns: ClassVar[bool] = True

    weight: Annotated[
        float,
        Parameter("weight of the distance correlation, where the cross-entropy has 1", least=0),
    ] = 1.0
    _seen: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """The weighted distance correlation of the batch's inputs and what was sent."""
        if turn.phase != "train" or turn.x is None or len(z) < 2:
            return None
        branch = z.view_as(z)  # carries only the gradient of this loss
        if branch.requires_grad:
            branch.register_hook(self._remember_gradient)
        dcor = distance_correlation(turn.x, branch)
        self._seen["train_dcor"] = dcor.detach()
        return self.weight * dcor

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """Measurements on the last training batch, and of the release, which is unchanged.

        `train_dcor` is the batch estimate that was minimized, `train_privacy_grad_norm` the l2
        norm of the privacy term's gradient at the cut; both are absent before any training.
        """
        seen = {name: float(value) for name, value in self._seen.items()}
        return {**super().evidence(clean, sent), **seen}

    def _remember_gradient(self, grad: Tensor) -> None:
        self._seen["train_privacy_grad_norm"] = grad.detach().norm()
