"""An attacker's toolbox; there is no truth in it."""
