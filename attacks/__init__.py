"""Attacks: one file each, by what they steal."""

from sltoolkit.attacks.inference.fsha_property import FSHAProperty
from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.logit_gradient import LogitGradient
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.attacks.reconstruction.colluding import Colluding
from sltoolkit.attacks.reconstruction.decoder import Decoder
from sltoolkit.attacks.reconstruction.deep_image_prior import DeepImagePrior
from sltoolkit.attacks.reconstruction.dlg import DLG
from sltoolkit.attacks.reconstruction.first_layer import FirstLayer
from sltoolkit.attacks.reconstruction.fora import FORA
from sltoolkit.attacks.reconstruction.fsha import FSHA
from sltoolkit.attacks.reconstruction.idlg import IDLG
from sltoolkit.attacks.reconstruction.inverting_gradients import InvertingGradients
from sltoolkit.attacks.reconstruction.pcat import PCAT
from sltoolkit.attacks.reconstruction.regression import Regression
from sltoolkit.attacks.reconstruction.retrieval import Retrieval
from sltoolkit.attacks.reconstruction.sdar import SDAR
from sltoolkit.attacks.reconstruction.shadow import Shadow
from sltoolkit.attacks.reconstruction.unsplit import UnSplit
from sltoolkit.attacks.reconstruction.whitebox import WhiteBox

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
