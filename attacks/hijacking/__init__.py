"""Attacks that take over the server's seat and depart from the protocol."""
