"""Models of the user's own for a local mesh: found, examined, named, measured against the machine, and sold."""
