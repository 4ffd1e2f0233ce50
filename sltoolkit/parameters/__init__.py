"""Parameters of plug-ins: declared once, and checked, described and rehearsed from there."""
