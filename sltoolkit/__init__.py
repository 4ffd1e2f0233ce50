"""sltoolkit: measure what split learning leaks, and what defending it costs.

>>> import sltoolkit as sl
>>> data = sl.data.load("photos")
>>> victim = sl.train("lenet", data, cut="conv1", seed=0)
>>> sl.attack(victim, sl.Decoder(), seed=0).rows()

Every name is loaded when it is first used, so that the command line answers at once.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sltoolkit import data as data
    from sltoolkit import metrics as metrics
    from sltoolkit import models as models
    from sltoolkit.api import attack as attack
    from sltoolkit.api import frozen as frozen
    from sltoolkit.api import table as table
    from sltoolkit.api import train as train
    from sltoolkit.attacks import *  # noqa: F403 - every attack, which its line there registers
    from sltoolkit.contracts.attack import ActiveAttack as ActiveAttack
    from sltoolkit.contracts.attack import Attack as Attack
    from sltoolkit.contracts.attack import Listener as Listener
    from sltoolkit.contracts.chain import Chain as Chain
    from sltoolkit.contracts.defense import Defense as Defense
    from sltoolkit.contracts.defense import NoDefense as NoDefense
    from sltoolkit.data.partition import DirichletLabels as DirichletLabels
    from sltoolkit.data.partition import Shards as Shards
    from sltoolkit.data.partition import ShuffleSplit as ShuffleSplit
    from sltoolkit.data.partition import WithReplacement as WithReplacement
    from sltoolkit.data.partition import class_counts as class_counts
    from sltoolkit.data.partition import heterogeneity as heterogeneity
    from sltoolkit.data.targets import Targets as Targets
    from sltoolkit.defenses import *  # noqa: F403
    from sltoolkit.models import cut as cut
    from sltoolkit.parties.settings import Training as Training
    from sltoolkit.protocols import *  # noqa: F403
    from sltoolkit.referee.mount import STANDARD_GRANTS as STANDARD_GRANTS
    from sltoolkit.report.attacks import attack_table as attack_table
    from sltoolkit.report.comparisons import comparisons as comparisons
    from sltoolkit.report.comparisons import formatted_comparisons as formatted_comparisons
    from sltoolkit.report.figures import reconstruction_figure as reconstruction_figure
    from sltoolkit.report.figures import tradeoff_figure as tradeoff_figure
    from sltoolkit.report.formats import formatted as formatted
    from sltoolkit.report.histograms import class_histograms as class_histograms
    from sltoolkit.report.progress_line import ProgressLine as ProgressLine
    from sltoolkit.report.result import Result as Result
    from sltoolkit.streams import Stream as Stream
    from sltoolkit.training.protocol import Protocol as Protocol
    from sltoolkit.training.victim import Victim as Victim
    from sltoolkit.wire.reducers import HalfPrecision as HalfPrecision
    from sltoolkit.wire.reducers import Quantized as Quantized
    from sltoolkit.wire.reducers import TopK as TopK

_HOMES = {
    "sltoolkit": ("data", "metrics", "models"),
    "sltoolkit.api": ("attack", "frozen", "table", "train"),
    "sltoolkit.contracts.attack": ("ActiveAttack", "Attack", "Listener"),
    "sltoolkit.contracts.chain": ("Chain",),
    "sltoolkit.contracts.defense": ("Defense", "NoDefense"),
    "sltoolkit.data.partition": (
        "DirichletLabels", "Shards", "ShuffleSplit", "WithReplacement", "class_counts",
        "heterogeneity",
    ),
    "sltoolkit.data.targets": ("Targets",),
    "sltoolkit.models": ("cut",),
    "sltoolkit.parties.settings": ("Training",),
    "sltoolkit.referee.mount": ("STANDARD_GRANTS",),
    "sltoolkit.report.attacks": ("attack_table",),
    "sltoolkit.report.comparisons": ("comparisons", "formatted_comparisons"),
    "sltoolkit.report.figures": ("reconstruction_figure", "tradeoff_figure"),
    "sltoolkit.report.formats": ("formatted",),
    "sltoolkit.report.histograms": ("class_histograms",),
    "sltoolkit.report.progress_line": ("ProgressLine",),
    "sltoolkit.report.result": ("Result",),
    "sltoolkit.streams": ("Stream",),
    "sltoolkit.training.protocol": ("Protocol",),
    "sltoolkit.training.victim": ("Victim",),
    "sltoolkit.wire.reducers": ("HalfPrecision", "Quantized", "TopK"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

_REGISTRIES = {
    "ATTACKS": "sltoolkit.attacks",
    "DEFENSES": "sltoolkit.defenses",
    "PROTOCOLS": "sltoolkit.protocols",
}
"""Registry -> the module that holds it. The plug-ins in it are public names, too."""

_FORMER = {"Quantised": "Quantized"}
"""Name in an earlier release -> its name now."""


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        now = _FORMER[name]
        warnings.warn(f"sl.{name} is called sl.{now} now", DeprecationWarning, stacklevel=2)
        return __getattr__(now)
    if name in _HOME_OF:
        home = _HOME_OF[name]
        whole = home == "sltoolkit"
        return import_module(f"{home}.{name}") if whole else getattr(import_module(home), name)
    if name in _REGISTRIES:
        return getattr(import_module(_REGISTRIES[name]), name)
    if name == "__all__":
        return sorted([*_HOME_OF, *_REGISTRIES, *_plugins()])
    plugins = _plugins() if name[:1].isupper() else {}  # only a class can be a plug-in
    if name not in plugins:
        raise AttributeError(f"module 'sltoolkit' has no attribute {name!r}")
    return plugins[name]


def __dir__() -> list[str]:
    return list(__getattr__("__all__"))


def _plugins() -> dict[str, type]:
    registries = [getattr(import_module(home), name) for name, home in _REGISTRIES.items()]
    return {kind.__name__: kind for registry in registries for kind in registry.values()}
