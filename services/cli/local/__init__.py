"""`tiermesh up`: a whole mesh on one machine."""
