"""The `tiermesh` command: a whole mesh on one machine, and the management of any mesh."""
