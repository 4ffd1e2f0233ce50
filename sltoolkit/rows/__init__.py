"""Rows of `results.csv`: their columns, and how they are made."""
