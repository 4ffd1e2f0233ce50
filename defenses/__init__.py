"""Defenses: one file each, by where they act, and one line here, which registers the defense."""

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.contracts.registry import plugins_in
from sltoolkit.defenses.smashed.dp_activations import DPActivations as DPActivations
from sltoolkit.defenses.smashed.gaussian_noise import GaussianNoise as GaussianNoise
from sltoolkit.defenses.smashed.laplace_noise import LaplaceNoise as LaplaceNoise
from sltoolkit.defenses.smashed.random_pruning import RandomPruning as RandomPruning
from sltoolkit.defenses.training.disco import DISCO as DISCO
from sltoolkit.defenses.training.nopeek import NoPeek as NoPeek

DEFENSES: dict[str, type[Defense]] = {"none": NoDefense, **plugins_in(globals())}
"""Every defense by its name, which is that of its file."""
