"""The chain of a local mesh, its test token and wallet, and how an operator moves tokens on any chain."""
