"""Several clients on tiny data, for the tests of rounds."""

from collections.abc import Callable

from torch import Tensor, nn

from sltoolkit.data.samples import Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run
from support.tiny import flat, play

Make = Callable[..., Protocol]


def parts(norm: bool = False) -> tuple[nn.Module, ...]:
    """A network without dropout and, by default, BatchNorm, so that samples don't interact."""
    with Stream(1).scope():
        middle = [nn.BatchNorm2d(2)] if norm else []
        head = nn.Sequential(nn.Conv2d(1, 2, 3), *middle, nn.Tanh()).double()
        rest = nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return head, rest


def run(
    protocol: Protocol, training: Training, *, data: Split | None = None, norm: bool = False,
    seed: int = 0,
) -> tuple[Run, RecordingEar]:  # fmt: skip
    return play(protocol, training, parts=parts(norm), samples=data, seed=seed)


def weights(seated: Run) -> Tensor:
    """The weights of the whole deployed network, in its order."""
    (member, *_), server = deploy(seated)
    return flat(member.client, *([member.tail] if member.tail is not None else []), server)
