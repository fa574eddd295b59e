"""The runner: one process, one engine, generating tokens for the models of one tier."""
