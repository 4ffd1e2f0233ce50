"""What split learning costs: communication by published formulas, computation, latency.

`singh` and `splitfed` count weights differently, so their numbers must never be compared. The
measured costs of a run are its victim's `costs` (`sltoolkit.training.measured`).
"""

from sltoolkit.costs import latency, singh, splitfed
from sltoolkit.costs.flops import (
    PartCost,
    SplitCost,
    registered_costs,
    split_costs,
    u_shaped_workload,
)
from sltoolkit.costs.latency import Scenario
from sltoolkit.costs.workload import (
    SCALAR_BYTES,
    Volume,
    Workload,
    buffers_extra,
    labels_extra,
)

__all__ = [
    "SCALAR_BYTES",
    "PartCost",
    "Scenario",
    "SplitCost",
    "Volume",
    "Workload",
    "buffers_extra",
    "labels_extra",
    "latency",
    "registered_costs",
    "singh",
    "split_costs",
    "splitfed",
    "u_shaped_workload",
]
