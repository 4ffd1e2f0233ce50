"""Inputs from gradients or weights."""
