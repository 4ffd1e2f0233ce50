"""The contract suite on every registered plug-in, and on plug-ins that it must catch."""
