"""Inputs from smashed data, after the fact."""
