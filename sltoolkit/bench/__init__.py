"""The bench runs experiments: from a spec to a store of results."""
