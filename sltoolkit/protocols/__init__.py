"""The protocols, one file each; every training loop fits on one page."""

from sltoolkit.protocols.blind_learning import BlindLearning
from sltoolkit.protocols.collaborative_inference import CollaborativeInference
from sltoolkit.protocols.extended_vanilla import ExtendedVanilla
from sltoolkit.protocols.fedavg import FedAvg
from sltoolkit.protocols.large_batch_sgd import LargeBatchSGD
from sltoolkit.protocols.local_loss import LocalLoss
from sltoolkit.protocols.multi_hop import MultiHop
from sltoolkit.protocols.multi_task import MultiTask
from sltoolkit.protocols.splitfed_v1 import SplitFedV1
from sltoolkit.protocols.splitfed_v2 import SplitFedV2
from sltoolkit.protocols.splitfed_v3 import SplitFedV3
from sltoolkit.protocols.u_shaped import UShaped
from sltoolkit.protocols.vanilla import Vanilla
from sltoolkit.protocols.vertical import Vertical
from sltoolkit.training.protocol import Protocol

PROTOCOLS: dict[str, type[Protocol]] = {
    "vanilla": Vanilla,
    "u_shaped": UShaped,
    "vertical": Vertical,
    "extended_vanilla": ExtendedVanilla,
    "multi_hop": MultiHop,
    "multi_task": MultiTask,
    "splitfed_v1": SplitFedV1,
    "splitfed_v2": SplitFedV2,
    "splitfed_v3": SplitFedV3,
    "blind_learning": BlindLearning,
    "local_loss": LocalLoss,
    "fedavg": FedAvg,
    "large_batch_sgd": LargeBatchSGD,
    "collaborative_inference": CollaborativeInference,
}

__all__ = [
    "PROTOCOLS", "BlindLearning", "CollaborativeInference", "ExtendedVanilla", "FedAvg",
    "LargeBatchSGD", "LocalLoss", "MultiHop", "MultiTask", "Protocol", "SplitFedV1", "SplitFedV2",
    "SplitFedV3", "UShaped", "Vanilla", "Vertical",
]  # fmt: skip
