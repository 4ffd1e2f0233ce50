"""Seating the parties of a run, and training a victim."""
