"""An attacker's toolbox; nothing in it has access to the truth."""
