"""The referee, the only room with the truth: it seats, rehearses, runs and judges attacks."""
