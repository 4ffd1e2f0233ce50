"""The defenses, by where they act: one file and one line here each."""

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses.smashed.dp_activations import DPActivations
from sltoolkit.defenses.smashed.gaussian_noise import GaussianNoise
from sltoolkit.defenses.smashed.laplace_noise import LaplaceNoise
from sltoolkit.defenses.smashed.random_pruning import RandomPruning
from sltoolkit.defenses.training.disco import DISCO
from sltoolkit.defenses.training.nopeek import NoPeek

DEFENSES: dict[str, type[Defense]] = {
    "none": NoDefense,
    "gaussian_noise": GaussianNoise,
    "laplace_noise": LaplaceNoise,
    "dp_activations": DPActivations,
    "random_pruning": RandomPruning,
    "nopeek": NoPeek,
    "disco": DISCO,
}

__all__ = [
    "DEFENSES",
    "DISCO",
    "DPActivations",
    "GaussianNoise",
    "LaplaceNoise",
    "NoPeek",
    "RandomPruning",
]
