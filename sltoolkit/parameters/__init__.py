"""Parameters of plug-ins: one declaration serves checks, descriptions and rehearsals."""
