"""Trying again: how long to wait, and whether a failure is news."""
