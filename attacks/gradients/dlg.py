"""Deep leakage from gradients: find the batch, and its labels, whose gradients were heard.

Adversary: a party that hears the gradients (or weights) that a client sends, and knows the network:
the server or an eavesdropper in large-batch SGD and federated averaging. It needs no data.

Idea (Zhu, Liu and Han 2019, equation 3, algorithm 1): from noise, minimize over inputs and labels
    min over x, v   || u(x, softmax v) - heard ||^2
by L-BFGS, with u(x, y) the gradients of the batch's mean cross-entropy with label probabilities y.
The network must be smooth: the paper replaces ReLU by sigmoid and pooling by strides. With ReLU the
second derivatives vanish, and the search stays near its start.

Departures from the paper and its code (github.com/mit-han-lab/dlg):
1. The search ends at the first iteration that improves nothing. The paper makes all 300 iterations
   (of up to 20 L-BFGS steps each), most of them at a standstill.
2. The search is started up to `restarts` times, and the start that matches best is kept. The paper
   makes one start and says that it may fail; L-BFGS at rate 1 without a line search, as in the
   code, often does.
3. If the client made several local steps of SGD, the search matches the change over all of them.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sltoolkit.attacks.gradients._matching import (
    Matching,
    UpdatesView,
    require_scale,
    squared_distance,
)
from sltoolkit.attacks.gradients._search import Leak
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class DLG(Leak):
    """Match gradients by L-BFGS over inputs and labels."""

    citation: ClassVar[str] = (
        "Zhu, Liu, Han 2019, Deep leakage from gradients (NeurIPS; arXiv:1906.08935)"
    )

    def run(self, view: UpdatesView, *, rng: Stream) -> Reconstruction:
        """Search for the inputs and labels of every group.

        Raises:
            ThreatModelError: if the updates are those of only a part of the network.
            SpecError: if the updates aren't gradients up to a known factor.
        """
        require_scale(view.updates, name="dlg")
        heard, task = Matching(view.updates, name="dlg"), view.task

        def objective(unknowns: list[Tensor], groups: Tensor) -> Tensor:
            """|| u(x, softmax v) - heard ||^2 of these groups, (M,)."""
            x, v = unknowns
            return squared_distance(heard.of_many(x, v.softmax(2)), heard.heard_of(groups))

        return self.search(objective, [task.input_shape, (task.classes,)], heard, rng)
