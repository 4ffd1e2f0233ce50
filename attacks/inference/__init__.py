"""Attacks on what is private beside inputs and labels: attributes, properties, membership."""
