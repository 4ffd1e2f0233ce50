"""Registered attacks that don't hear smashed data at the usual cut."""

from sltoolkit.testing.victims import Make, federated, federated_linear, logits

OF_UPDATES: dict[str, Make] = {
    "dlg": federated,
    "first_layer": federated_linear,
    "idlg": federated,
    "inverting_gradients": federated,
}
"""Attacks that hear updates, with a victim that sends updates."""

OF_LOGITS: dict[str, Make] = {"logit_gradient": logits}
"""Attacks that hear gradients at logits, with a victim that is cut there."""
