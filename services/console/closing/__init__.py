"""Closing an account, by its owner."""
