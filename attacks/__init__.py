"""Attacks: one file each, in folders by kind; the import of its class here registers an attack."""

from sltoolkit.attacks.gradients.dlg import DLG as DLG
from sltoolkit.attacks.gradients.first_layer import FirstLayer as FirstLayer
from sltoolkit.attacks.gradients.idlg import IDLG as IDLG
from sltoolkit.attacks.gradients.inverting_gradients import InvertingGradients as InvertingGradients
from sltoolkit.attacks.hijacking.fsha import FSHA as FSHA
from sltoolkit.attacks.hijacking.fsha_property import FSHAProperty as FSHAProperty
from sltoolkit.attacks.inversion.colluding import Colluding as Colluding
from sltoolkit.attacks.inversion.decoder import Decoder as Decoder
from sltoolkit.attacks.inversion.deep_image_prior import DeepImagePrior as DeepImagePrior
from sltoolkit.attacks.inversion.regression import Regression as Regression
from sltoolkit.attacks.inversion.retrieval import Retrieval as Retrieval
from sltoolkit.attacks.inversion.shadow import Shadow as Shadow
from sltoolkit.attacks.inversion.unsplit import UnSplit as UnSplit
from sltoolkit.attacks.inversion.whitebox import WhiteBox as WhiteBox
from sltoolkit.attacks.labels.direction import Direction as Direction
from sltoolkit.attacks.labels.logit_gradient import LogitGradient as LogitGradient
from sltoolkit.attacks.labels.norm import Norm as Norm
from sltoolkit.attacks.listening.fora import FORA as FORA
from sltoolkit.attacks.listening.pcat import PCAT as PCAT
from sltoolkit.attacks.listening.sdar import SDAR as SDAR
from sltoolkit.contracts.registry import plugins_in

ATTACKS: dict[str, type] = plugins_in(globals())
"""Every attack by its name, which is the name of its file."""
