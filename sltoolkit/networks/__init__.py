"""Networks that attackers and defenses train, and their losses."""
