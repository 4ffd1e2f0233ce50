"""Defenses that change how the client learns."""
