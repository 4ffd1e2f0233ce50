"""The parties that compute a network in parts, as interfaces."""

from abc import ABC, abstractmethod

from torch import Tensor


class Stage(ABC):
    """A party that computes a part of the network, and can learn or stand still."""

    @abstractmethod
    def learn(self, learning: bool) -> None:
        """Train (training mode, weights move), or stand still (evaluation mode, frozen)."""


class Client(Stage):
    """The first stage: computes from its inputs up to the cut."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Smashed data (B, ...) of inputs (B, C, H, W), with its graph."""

    @abstractmethod
    def update(self, z: Tensor, back: Tensor | None, extra: Tensor | None) -> None:
        """Learn from the gradient `back` at `z` and the loss `extra`; not if `back` is None."""


class Middle(Stage):
    """The stage between two cuts."""

    @abstractmethod
    def forward(self, received: Tensor) -> Tensor:
        """Its output for what it received; keeps the graph until `backward`."""

    @abstractmethod
    def backward(self, grad: Tensor) -> Tensor:
        """Learn from the gradient at its output; returns the one at its input."""


class Server(Stage):
    """The last stage: finishes the forward pass, knows labels, computes the loss."""

    @abstractmethod
    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Forward, mean loss, backward, update; returns the gradient at the cut, (B, ...)."""
