"""Attacks after the fact that reconstruct inputs from smashed data."""
