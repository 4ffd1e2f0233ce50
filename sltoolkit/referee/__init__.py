"""The only room with the truth."""
