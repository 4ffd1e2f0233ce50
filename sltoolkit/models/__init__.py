"""Models of named blocks, and cutting any model into the parts that its parties hold."""

from sltoolkit.models.cut import cut, cut_points
from sltoolkit.models.profile import CutProfile, profile_cuts
from sltoolkit.models.registry import MODELS, Model, ModelEntry, build, prefers_channels_last, whole
from sltoolkit.models.verified import verified_cut

__all__ = [
    "MODELS", "CutProfile", "Model", "ModelEntry", "build", "cut", "cut_points",
    "prefers_channels_last", "profile_cuts", "verified_cut", "whole",
]  # fmt: skip
