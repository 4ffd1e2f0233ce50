"""Networks that attackers and defenses train."""
