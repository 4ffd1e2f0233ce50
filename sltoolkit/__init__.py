"""sltoolkit: measure what split learning leaks, and what defending it costs.

>>> import sltoolkit as sl
>>> data = sl.data.load("photos")
>>> victim = sl.train("lenet", data, cut="conv1", seed=0)
>>> sl.attack(victim, sl.Decoder(), seed=0).rows()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded when first used, so that the command line answers at once
    from sltoolkit import data, metrics, models
    from sltoolkit.api import attack, frozen, table, train
    from sltoolkit.attacks import (
        ATTACKS,
        DLG,
        FORA,
        FSHA,
        IDLG,
        PCAT,
        SDAR,
        Colluding,
        Decoder,
        DeepImagePrior,
        Direction,
        FirstLayer,
        FSHAProperty,
        InvertingGradients,
        LogitGradient,
        Norm,
        Regression,
        Retrieval,
        Shadow,
        UnSplit,
        WhiteBox,
    )
    from sltoolkit.contracts.attack import ActiveAttack, Attack, Listener
    from sltoolkit.contracts.chain import Chain
    from sltoolkit.contracts.defense import Defense, NoDefense
    from sltoolkit.data.partition import (
        DirichletLabels,
        Shards,
        ShuffleSplit,
        WithReplacement,
        class_counts,
        heterogeneity,
    )
    from sltoolkit.data.targets import Targets
    from sltoolkit.defenses import (
        DEFENSES,
        DISCO,
        DPActivations,
        GaussianNoise,
        LaplaceNoise,
        NoPeek,
        RandomPruning,
    )
    from sltoolkit.models import cut
    from sltoolkit.parties.settings import Training
    from sltoolkit.report.progress_line import ProgressLine
    from sltoolkit.protocols import (
        PROTOCOLS,
        BlindLearning,
        CollaborativeInference,
        ExtendedVanilla,
        FedAvg,
        LargeBatchSGD,
        LocalLoss,
        MultiHop,
        MultiTask,
        SplitFedV1,
        SplitFedV2,
        SplitFedV3,
        UShaped,
        Vanilla,
        Vertical,
    )
    from sltoolkit.referee.mount import STANDARD_GRANTS
    from sltoolkit.report.attacks import attack_table
    from sltoolkit.report.figures import reconstruction_figure, tradeoff_figure
    from sltoolkit.report.formats import formatted
    from sltoolkit.report.histograms import class_histograms
    from sltoolkit.rows.result import Result
    from sltoolkit.streams import Stream
    from sltoolkit.training.victim import Victim
    from sltoolkit.wire.reducers import HalfPrecision, Quantized, TopK

_HOMES = {
    "sltoolkit": ("data", "metrics", "models"),
    "sltoolkit.api": ("attack", "class_histograms", "frozen", "table", "train"),
    "sltoolkit.attacks": (
        "ATTACKS", "DLG", "FORA", "FSHA", "IDLG", "PCAT", "SDAR", "Colluding", "Decoder",
        "DeepImagePrior", "Direction", "FSHAProperty", "FirstLayer", "InvertingGradients",
        "LogitGradient", "Norm", "Regression", "Retrieval", "Shadow", "UnSplit", "WhiteBox",
    ),
    "sltoolkit.contracts.chain": ("Chain",),
    "sltoolkit.contracts.attack": ("ActiveAttack", "Attack", "Listener"),
    "sltoolkit.contracts.defense": ("Defense", "NoDefense"),
    "sltoolkit.defenses": (
        "DEFENSES", "DISCO", "DPActivations", "GaussianNoise", "LaplaceNoise", "NoPeek",
        "RandomPruning",
    ),
    "sltoolkit.models": ("cut",),
    "sltoolkit.report.progress_line": ("ProgressLine",),
    "sltoolkit.protocols": (
        "BlindLearning", "CollaborativeInference", "ExtendedVanilla", "FedAvg", "LargeBatchSGD",
        "LocalLoss", "MultiHop", "MultiTask", "PROTOCOLS", "SplitFedV1", "SplitFedV2", "SplitFedV3",
        "UShaped", "Vanilla", "Vertical",
    ),
    "sltoolkit.wire.reducers": ("HalfPrecision", "Quantized", "TopK"),
    "sltoolkit.data.partition": (
        "DirichletLabels", "Shards", "ShuffleSplit", "WithReplacement", "class_counts",
        "heterogeneity",
    ),
    "sltoolkit.referee.mount": ("STANDARD_GRANTS",),
    "sltoolkit.report.attacks": ("attack_table",),
    "sltoolkit.report.figures": ("reconstruction_figure", "tradeoff_figure"),
    "sltoolkit.report.formats": ("formatted",),
    "sltoolkit.report.histograms": ("class_histograms",),
    "sltoolkit.rows.result": ("Result",),
    "sltoolkit.streams": ("Stream",),
    "sltoolkit.data.targets": ("Targets",),
    "sltoolkit.parties.settings": ("Training",),
    "sltoolkit.training.victim": ("Victim",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ATTACKS", "DEFENSES", "DISCO", "DLG", "FORA", "FSHA", "IDLG", "PCAT", "PROTOCOLS", "SDAR",
    "STANDARD_GRANTS", "ActiveAttack", "Attack", "BlindLearning", "Chain",
    "CollaborativeInference", "Colluding", "DPActivations", "Decoder", "DeepImagePrior",
    "Defense", "Direction", "DirichletLabels", "ExtendedVanilla", "FSHAProperty", "FedAvg",
    "FirstLayer", "GaussianNoise", "HalfPrecision", "InvertingGradients", "LaplaceNoise",
    "LargeBatchSGD", "Listener", "LocalLoss", "LogitGradient", "MultiHop", "MultiTask",
    "NoDefense", "NoPeek", "Norm", "ProgressLine", "Quantized", "RandomPruning", "Regression",
    "Result", "Retrieval", "Shadow", "Shards", "ShuffleSplit", "SplitFedV1", "SplitFedV2",
    "SplitFedV3", "Stream", "Targets", "TopK", "Training", "UShaped", "UnSplit", "Vanilla",
    "Vertical", "Victim", "WhiteBox", "WithReplacement", "attack", "attack_table", "class_counts",
    "class_histograms", "cut", "data", "formatted", "frozen", "heterogeneity", "metrics",
    "models", "reconstruction_figure", "table", "tradeoff_figure", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sltoolkit' has no attribute {name!r}")
    home = _HOME_OF[name]
    if home == "sltoolkit":
        return import_module(f"sltoolkit.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
