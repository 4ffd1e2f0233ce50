"""Planted cheats: deliberately bad plug-ins; `catalog` names the check that catches each."""
