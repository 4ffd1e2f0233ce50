"""Registered attacks that hear something else than smashed data at the usual cut."""

from sltoolkit.testing.victims import Make, federated, federated_linear, logits

OF_UPDATES: dict[str, Make] = {
    "dlg": federated,
    "first_layer": federated_linear,
    "idlg": federated,
    "inverting_gradients": federated,
}
"""Attacks that hear updates, and a victim that says them."""

OF_LOGITS: dict[str, Make] = {"logit_gradient": logits}
"""Attacks that hear gradients at logits, and a victim that is cut there."""
