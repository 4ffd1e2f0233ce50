"""Attacks that listen while the victim trains, and change nothing."""
