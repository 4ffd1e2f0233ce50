"""Attacks that take over the server's seat."""
