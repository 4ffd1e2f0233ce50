"""Defenses that change what is sent at the cut."""
