"""Attacks that listen while the victim trains."""
