"""The decoder's answers for attacks that start from them, and are pulled towards them."""

from collections.abc import Callable

from torch import Tensor

from sltoolkit.adversary.inverse_training import FEWEST_TO_REHEARSE
from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.attacks.inversion.decoder import Decoder
from sltoolkit.contracts.defense import Task
from sltoolkit.errors import ThreatModelError
from sltoolkit.metrics.losses import LOSSES, Loss, objectives
from sltoolkit.streams import Stream


def decodable(view: WhiteBoxView, decoder: Decoder) -> bool:
    """Whether the decoder can be trained in this view, and also in a rehearsal on it."""
    return (
        view.aux is not None
        and view.release is not None
        and len(view.aux.x) >= FEWEST_TO_REHEARSE
        and decoder.refuses(view.task) is None
    )


def answers(view: WhiteBoxView, decoder: Decoder) -> Callable[[Stream], Tensor]:
    """From a stream to a decoder's answers to what was heard, (N, ...).

    Each stream trains one decoder, when it first asks; streams of the same seed and path share it.
    """
    known: dict[int, Tensor] = {}

    def answer(rng: Stream) -> Tensor:
        if rng.seed not in known:
            known[rng.seed] = decoded(view, decoder, rng)
        return known[rng.seed]

    return answer


def decoded(view: WhiteBoxView, decoder: Decoder, rng: Stream) -> Tensor:
    """What the decoder attack reconstructs from the same view, (N, ...).

    Raises:
        ThreatModelError: if the view holds no aux samples or no queries.
    """
    if view.aux is None or view.release is None:
        raise ThreatModelError(
            "start='decoder' trains a decoder on own samples and their releases, and the attacker "
            f"has no {'samples' if view.aux is None else 'queries'}: grant aux and release, or "
            "leave start open"
        )
    seen = LabeledQueryView(
        smashed=view.smashed, release=view.release, aux=view.aux, task=view.task, labels=view.labels
    )
    return decoder.run(seen, rng=rng).images


def distance(task: Task) -> Loss:
    """What the pull measures, from two batches (N, ...) to (N,): the loss of the decoder itself."""
    return LOSSES[objectives(task.input_shape)[0]]
