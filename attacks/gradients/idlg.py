"""Improved deep leakage from gradients: the label is read off exactly, then the input is found.

Adversary: a party that hears the gradients (or weights) that a client sends for a single sample,
and knows the network. It needs no data.

Idea (Zhao, Mopuri and Bilen 2020, sections 3.2 and 3.3): with cross-entropy the gradient at the
logits is softmax - onehot, whose only negative entry is the label's. The last layer's gradients
show this entry. Once the label is known, DLG's search has only the input left to find:
    min over x   || u(x, onehot label) - heard ||^2.

Departures from the paper and its code (github.com/PatrickZH/Improved-Deep-Leakage-from-Gradients):
1. If the last layer has a bias, the label is read off the bias's gradient, which works for features
   of either sign. Otherwise it is read off the weights' gradient, as in the paper.
2. A search ends when nothing improves; the best of up to `restarts` starts is kept, as in `dlg`.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor
from torch.nn import functional

from sltoolkit.attacks.gradients._matching import (
    Matching,
    UpdatesView,
    require_scale,
    sole_labels,
    squared_distance,
)
from sltoolkit.attacks.gradients._search import Leak
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class IDLG(Leak):
    """Read the label off, then match gradients by L-BFGS over the input; one sample per update."""

    citation: ClassVar[str] = (
        "Zhao, Mopuri, Bilen 2020, iDLG: Improved deep leakage from gradients (arXiv:2001.02610)"
    )

    def run(self, view: UpdatesView, *, rng: Stream) -> Reconstruction:
        """Search for every target.

        Raises:
            ThreatModelError: if the updates are those of only a part of the network.
            SpecError: if no label can be read off (several samples per update, or no last linear
                layer), or if updates aren't gradients up to a known factor.
        """
        labels = sole_labels(view.updates, view.task)
        if labels is None:
            raise SpecError(
                "idlg reads the label of a single sample off a last linear layer, but updates are "
                f"heard of {view.updates.batch} together, or the network has no such layer: use "
                "targets.batch = 1, and a network that ends in nn.Linear; or dlg, which searches "
                "labels"
            )
        require_scale(view.updates, name="idlg")
        heard, task = Matching(view.updates, name="idlg"), view.task
        known = functional.one_hot(labels, task.classes)[:, None]

        def objective(unknowns: list[Tensor], groups: Tensor) -> Tensor:
            """|| u(x, onehot label) - heard ||^2 of these groups, (M,)."""
            (x,) = unknowns
            return squared_distance(heard.of_many(x, known[groups].to(x)), heard.heard_of(groups))

        return self.search(objective, [task.input_shape], heard, rng)
