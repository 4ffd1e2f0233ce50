"""The contracts of plug-ins; their authors need to read no other package."""
