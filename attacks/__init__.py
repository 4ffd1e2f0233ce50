"""Attacks: one file each, by what they steal."""

from sltoolkit.attacks.gradients.dlg import DLG
from sltoolkit.attacks.gradients.first_layer import FirstLayer
from sltoolkit.attacks.gradients.idlg import IDLG
from sltoolkit.attacks.gradients.inverting_gradients import InvertingGradients
from sltoolkit.attacks.hijacking.fsha import FSHA
from sltoolkit.attacks.hijacking.fsha_property import FSHAProperty
from sltoolkit.attacks.inversion.colluding import Colluding
from sltoolkit.attacks.inversion.decoder import Decoder
from sltoolkit.attacks.inversion.deep_image_prior import DeepImagePrior
from sltoolkit.attacks.inversion.regression import Regression
from sltoolkit.attacks.inversion.retrieval import Retrieval
from sltoolkit.attacks.inversion.shadow import Shadow
from sltoolkit.attacks.inversion.unsplit import UnSplit
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.logit_gradient import LogitGradient
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.attacks.listening.fora import FORA
from sltoolkit.attacks.listening.pcat import PCAT
from sltoolkit.attacks.listening.sdar import SDAR

ATTACKS: dict[str, type] = {
    "colluding": Colluding,
    "decoder": Decoder,
    "deep_image_prior": DeepImagePrior,
    "direction": Direction,
    "dlg": DLG,
    "first_layer": FirstLayer,
    "fora": FORA,
    "fsha": FSHA,
    "fsha_property": FSHAProperty,
    "idlg": IDLG,
    "inverting_gradients": InvertingGradients,
    "logit_gradient": LogitGradient,
    "norm": Norm,
    "pcat": PCAT,
    "regression": Regression,
    "retrieval": Retrieval,
    "sdar": SDAR,
    "shadow": Shadow,
    "unsplit": UnSplit,
    "whitebox": WhiteBox,
}

__all__ = [
    "ATTACKS", "DLG", "FORA", "FSHA", "IDLG", "PCAT", "SDAR", "Colluding", "Decoder",
    "DeepImagePrior", "Direction", "FSHAProperty", "FirstLayer", "InvertingGradients",
    "LogitGradient", "Norm", "Regression", "Retrieval", "Shadow", "UnSplit", "WhiteBox",
]  # fmt: skip
