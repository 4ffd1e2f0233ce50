"""Names as figures write them; tables, specs and files keep the registered ones."""

import re

WRITTEN = {
    # attacks
    "whitebox": "white box", "unsplit": "UnSplit", "sdar": "SDAR", "pcat": "PCAT", "fora": "FORA",
    "fsha": "FSHA", "dlg": "DLG", "idlg": "iDLG",
    # defenses
    "dp_activations": "DP activations", "nopeek": "NoPeek", "disco": "DISCO",
    # protocols
    "u_shaped": "U-shaped", "multi_hop": "multi-hop", "multi_task": "multi-task",
    "splitfed_v1": "SplitFed V1", "splitfed_v2": "SplitFed V2", "splitfed_v3": "SplitFed V3",
    "fedavg": "FedAvg", "large_batch_sgd": "large-batch SGD",
    # parameters
    "epsilon": "ε", "delta": "δ",
    # data and models
    "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10",
    "mitbih": "MIT-BIH", "mlp": "MLP", "lenet": "LeNet", "cifar_cnn": "CIFAR CNN",
    "ecg_cnn": "ECG CNN", "resnet18": "ResNet-18", "resnet20": "ResNet-20",
}  # fmt: skip
"""Registered name -> how papers write it, unless they only replace underscores by spaces."""


def written(text: str) -> str:
    """A figure's label: each name as papers write it, and a space before its parameters."""
    named = re.sub(r"[a-zA-Z]\w*", lambda m: WRITTEN.get(m[0], m[0].replace("_", " ")), text)
    return re.sub(r"(?<=\S)\(", " (", named)
