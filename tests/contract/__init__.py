"""The contract suite: what every registered attack and defense must keep to."""
