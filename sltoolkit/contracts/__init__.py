"""What a plug-in's author reads, and all of it."""
