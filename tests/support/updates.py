"""Updates of targets, for the tests of updates and of the attacks that invert them."""

from torch import Tensor
from torch.nn import functional

from sltoolkit.contracts.knowledge import Updates
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import image_targets
from sltoolkit.parties.settings import Training
from sltoolkit.referee.updates import released_updates
from sltoolkit.training.victim import Victim

UNTRAINED = Training(epochs=0, optimizer="sgd", lr=0.1)
SGD = Training(epochs=1, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9, weight_decay=0.01)


def heard_of(victim: Victim) -> tuple[Updates, Samples]:
    held, seed = victim.client.samples, victim.recipe.seed
    samples = image_targets(victim.data, held, victim.targets, seed=seed)
    return released_updates(victim, samples, victim.targets), samples


def in_groups(updates: Updates, samples: Samples, classes: int) -> tuple[Tensor, Tensor]:
    """Inputs (G, B, ...) and one-hot labels (G, B, C)."""
    y = functional.one_hot(samples.y, classes).to(samples.x)
    shape = (-1, updates.batch)
    return samples.x.unflatten(0, shape), y.unflatten(0, shape)
