"""Attacks that reconstruct inputs from gradients or weights."""
