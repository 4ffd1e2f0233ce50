"""Planted cheats: deliberately bad plug-ins, each with the check that catches it (`catalog`)."""
