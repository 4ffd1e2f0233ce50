"""Seats the parties and trains a victim."""
